"""Digest of the code that an output depends on, so that editing it reruns what it shapes and nothing else.

Each rule carries as a parameter the digest of its script and of every definition of the package that the script
reaches: what it names, what that names, and so on. The digest is a set of the digests of these definitions
(:mod:`langtailor.storage.source_code`), each with the names by which it knows the others. So it is blind to comments,
docstrings and import statements, to the names of modules, and to the module in which a definition stands: code that is
moved reruns nothing. A template that a definition names counts as part of it.

Definitions are reached by name. What a module does on import, such as the registration of a class by a decorator, is
reached by importing the module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from langtailor.storage.digests import sha256_file
from langtailor.storage.source_code import Definition, SourceFile, SourceFiles

_PACKAGE = "langtailor"
_ROOT = Path(__file__).parents[1]
_INCLUDED = re.compile(r'{% include "([^"]+)" %}')
#: Modules that shape no output: configuration values reach a rule as parameters of their own, and checks only refuse.
_NEUTRAL = ("config", "errors", "progress", "storage.code_digest", "storage.source_code", "teacher.prunable")


@cache
def code_digest(script: Path) -> str:
    """Digest (16 hexadecimal digits) of a script or module and of all that it reaches in the package.

    Args:
        script: the source file of a rule's script, or of a module of the package.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return _Closure(script).digest()


@cache
def module_digest(name: str) -> str:
    """The digest of a module of the package, by its name below the package: ``vectors.encode``.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    path = _path(f"{_PACKAGE}.{name}")
    if path is None:
        raise ModuleNotFoundError(name)
    return code_digest(path)


@dataclass(frozen=True, eq=False)
class _Place:
    """A definition and its file; there is one object for each."""

    path: Path
    definition: Definition


class _Closure:
    """All definitions that a file reaches."""

    def __init__(self, script: Path) -> None:
        self._lines: set[str] = set()
        self._seen: set[_Place] = set()
        self._loaded: set[Path] = set()
        self._pending: list[_Place] = []
        self._load(script)
        self._pending += _places(script)
        while self._pending:
            self._visit(self._pending.pop())
        _files().remember()

    def digest(self) -> str:
        return hashlib.sha256("\n".join(sorted(self._lines)).encode()).hexdigest()[:16]

    def _visit(self, place: _Place) -> None:
        if place in self._seen:
            return
        self._seen.add(place)
        line, reached = _links(place)
        self._lines.add(line)
        self._pending += reached
        for target in place.definition.imports.values():
            self._load_target(target)

    def _load(self, path: Path) -> None:
        """Follow what importing a file does: its effects, and the files that it imports."""
        if path in self._loaded:
            return
        self._loaded.add(path)
        file = _parsed(path)
        self._pending += [place for place in _places(path) if _is_effect(file, place.definition)]
        for target in file.imports.values():
            self._load_target(target)

    def _load_target(self, target: str) -> None:
        for module in _modules_of(target):
            if not _is_neutral(module) and (path := _path(module)):
                self._load(path)


# Scripts share most of what they reach.
@cache
def _links(place: _Place) -> tuple[str, list[_Place]]:
    """What a definition adds to a digest, and the definitions that it names."""
    imports = {**_parsed(place.path).imports, **place.definition.imports}
    named = {name: _named(place, imports, name) for name in place.definition.uses}
    references = [_reference(name, imports, places) for name, places in named.items()]
    templates = [_template_digest(place.path.parent / name) for name in place.definition.templates]
    line = " ".join([place.definition.digest, *filter(None, references), *templates])
    return line, [reached for places in named.values() for reached in places]


def _named(place: _Place, imports: dict[str, str], name: str) -> list[_Place]:
    """The definitions that a name stands for; none for local variables, builtins and other packages."""
    here, _, attribute = name.partition(".")
    if not attribute and here not in place.definition.imports and (found := _defined(place.path, here)):
        return found
    target = _target(imports, name)
    return _resolve(target) if _is_ours(target) else []


def _reference(name: str, imports: dict[str, str], places: list[_Place]) -> str:
    """A name with what it stands for: definitions, or a name of another package; else empty."""
    if places:
        return f"{name}={','.join(place.definition.digest for place in places)}"
    target = _target(imports, name)
    return f"{name}={target}" if target and "." not in name and not _is_ours(target) else ""


def _target(imports: dict[str, str], name: str) -> str:
    """The full name of what is imported as ``name``; empty where nothing is."""
    here, _, attribute = name.partition(".")
    target = imports.get(here, "")
    return f"{target}.{attribute}" if target and attribute else target


@cache
def _resolve(target: str) -> list[_Place]:
    """The definitions that ``module.name`` stands for, through modules that only pass it on; none for a module."""
    module, _, name = target.rpartition(".")
    path = _path(module)
    if _is_neutral(target) or path is None:
        return []
    if places := _defined(path, name):
        return places
    passed_on = _parsed(path).imports.get(name)
    return _resolve(passed_on) if passed_on and _is_ours(passed_on) else []


@cache
def _defined(path: Path, name: str) -> list[_Place]:
    return [place for place in _places(path) if name in place.definition.names]


@cache
def _places(path: Path) -> list[_Place]:
    return [_Place(path, definition) for definition in _parsed(path).definitions]


def _is_effect(file: SourceFile, definition: Definition) -> bool:
    ours = (file.imports.get(name.partition(".")[0], "") for name in definition.decorators)
    return not definition.names or any(map(_is_ours, ours))


def _is_ours(target: str) -> bool:
    return target.partition(".")[0] == _PACKAGE


def _is_neutral(target: str) -> bool:
    below = target.removeprefix(f"{_PACKAGE}.")
    return any(below == name or below.startswith(f"{name}.") for name in _NEUTRAL)


def _modules_of(target: str) -> Iterator[str]:
    """The packages and modules that importing ``package.module.name`` runs."""
    parts = target.split(".")
    if parts[0] == _PACKAGE:
        yield from (".".join(parts[:end]) for end in range(2, len(parts) + 1))


@cache
def _files() -> SourceFiles:
    return SourceFiles(_ROOT / "__pycache__" / "code_digest.json")


@cache
def _parsed(path: Path) -> SourceFile:
    return _files().parsed(path)


def _template_digest(template: Path) -> str:
    """Digest of a template and of those that it includes; empty where there is no such file."""
    if not template.is_file():
        return ""
    included = sorted(set(_INCLUDED.findall(template.read_text(encoding="utf-8"))))
    return "+".join([sha256_file(template), *(_template_digest(template.parent / name) for name in included)])


@cache
def _path(module: str) -> Path | None:
    base = _ROOT.joinpath(*module.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
