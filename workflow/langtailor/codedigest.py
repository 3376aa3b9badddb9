"""Digest of the code that a stage stands on, so that editing it reruns that stage and nothing else.

Snakemake tracks the ``script:`` of a rule but not the modules that the script imports. Each rule therefore carries,
as a parameter, the digest of its stage's modules and of every langtailor module reachable from them by imports. The
digest is taken over the syntax trees without docstrings, so that editing a comment or a docstring reruns nothing. A
template that a module names counts as part of it.

What was found in a module is remembered beside Python's own compiled files, by the content of the source: planning and
every job need all digests, and parsing the package takes longer than the rest of a plan.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from langtailor.artifacts import atomic_file, sha256_file

_PACKAGE = "langtailor"
_ROOT = Path(__file__).parent
#: Modules that shape no output: configuration values reach a rule as parameters of their own.
_NEUTRAL = frozenset({f"{_PACKAGE}.{name}" for name in ("config", "errors", "progress", "codedigest")})
_TEMPLATE_SUFFIX = ".jinja"


@dataclass(frozen=True)
class _Source:
    """What parsing a module finds.

    Attributes:
        key: digest of its file, and of the Python that parsed it.
        tree: digest of its syntax tree.
        names: what it imports of langtailor: modules, and what may be modules.
        templates: names of its templates.
    """

    key: str
    tree: str
    names: list[str]
    templates: list[str]


class _Memory:
    """What is known of modules, kept in a file that nobody needs: without it they are parsed."""

    def __init__(self, path: Path) -> None:
        self._path, self._grown = path, False
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            self._sources = {name: _Source(**source) for name, source in known.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._sources = {}

    def source(self, name: str, path: Path) -> _Source:
        content = path.read_bytes()
        key = hashlib.sha256(content + sys.version.encode()).hexdigest()
        if name not in self._sources or self._sources[name].key != key:
            self._sources[name], self._grown = _parse(name, content, key), True
        return self._sources[name]

    def keep(self) -> None:
        if not self._grown:
            return
        self._grown = False
        text = json.dumps({name: asdict(source) for name, source in self._sources.items()})
        with suppress(OSError), atomic_file(self._path) as temporary:
            temporary.write_text(text, encoding="utf-8")


@cache
def code_digest(*modules: str) -> str:
    """Digest (16 hexadecimal digits) of modules of langtailor and of all that they import from langtailor.

    Args:
        modules: names below the package, for example ``counting`` or ``corpus.build``: those that a rule's script
            imports.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    digest = hashlib.sha256()
    for name in sorted(_reachable([f"{_PACKAGE}.{module}" for module in modules])):
        digest.update(f"{name} {_digest(name)}\n".encode())
    _memory().keep()
    return digest.hexdigest()[:16]


def _reachable(waiting: list[str]) -> set[str]:
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name in _NEUTRAL or name == _PACKAGE:
            continue
        seen.add(name)
        waiting += filter(_path, _source(name).names)
    return seen


@cache
def _memory() -> _Memory:
    return _Memory(_ROOT / "__pycache__" / "codedigest.json")


@cache
def _source(name: str) -> _Source:
    return _memory().source(name, _file(name))


def _digest(name: str) -> str:
    """Digest of a module and of its templates, so far as they are there."""
    templates = [_file(name).parent / template for template in _source(name).templates]
    digests = [sha256_file(template) for template in templates if template.is_file()]
    return " ".join([_source(name).tree, *digests])


def _parse(name: str, content: bytes, key: str) -> _Source:
    tree = ast.parse(content)
    nodes = list(ast.walk(tree))
    # Importing a module runs its package's __init__ first.
    names = {name.rpartition(".")[0], *_imports(nodes)}
    templates = {text for text in _texts(nodes) if text.endswith(_TEMPLATE_SUFFIX)}
    _drop_docstrings(nodes)
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Source(key, digest, sorted(n for n in names if n.split(".")[0] == _PACKAGE), sorted(templates))


def _imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    return (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _drop_docstrings(nodes: Iterable[ast.AST]) -> None:
    for node in nodes:
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [child for child in body if not _is_bare_string(child)]  # type: ignore[attr-defined]


def _is_bare_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _file(name: str) -> Path:
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(name)
    return path


@cache
def _path(name: str) -> Path | None:
    base = _ROOT.joinpath(*name.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
