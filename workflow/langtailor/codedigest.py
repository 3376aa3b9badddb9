"""Digest of the code that a stage stands on, so that editing it reruns that stage and nothing else.

Snakemake tracks the ``script:`` of a rule but not the modules that the script imports. Each rule therefore carries,
as a parameter, the digest of its stage's modules and of every langtailor module reachable from them by imports. The
digest is taken over the syntax trees without docstrings, so that editing a comment or a docstring reruns nothing. A
template that a module names counts as part of it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PACKAGE = "langtailor"
_ROOT = Path(__file__).parent
#: Modules that shape no output: configuration values reach a rule as parameters of their own.
_NEUTRAL = frozenset({f"{_PACKAGE}.{name}" for name in ("config", "errors", "progress", "codedigest")})
_TEMPLATE_SUFFIX = ".jinja"


@dataclass(frozen=True)
class _Module:
    """What a digest needs of a module: planning and each job need it, so that it is parsed once.

    Attributes:
        digest: of its syntax tree and its templates.
        imports: the langtailor modules that it imports.
    """

    digest: str
    imports: tuple[str, ...]


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
        digest.update(f"{name} {_module(name).digest}\n".encode())
    return digest.hexdigest()[:16]


def _reachable(waiting: list[str]) -> set[str]:
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name in _NEUTRAL or name == _PACKAGE:
            continue
        seen.add(name)
        waiting += _module(name).imports
    return seen


@cache
def _module(name: str) -> _Module:
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(name)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    # Importing a module runs its package's __init__ first.
    imports = {name.rpartition(".")[0], *_imports(nodes)}
    templates = {path.parent / text for text in _texts(nodes) if text.endswith(_TEMPLATE_SUFFIX)}
    _drop_docstrings(nodes)
    digest = hashlib.sha256(ast.dump(tree).encode())
    for template in sorted(templates):
        if template.is_file():
            digest.update(template.read_bytes())
    return _Module(digest.hexdigest(), tuple(sorted(i for i in imports if i.split(".")[0] == _PACKAGE and _path(i))))


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


def _path(name: str) -> Path | None:
    base = _ROOT.joinpath(*name.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
