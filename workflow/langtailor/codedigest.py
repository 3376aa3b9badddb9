"""Digest of the code that a stage stands on, so that editing it reruns that stage and nothing else.

Snakemake tracks the ``script:`` of a rule but not the modules that the script imports. Each rule therefore carries,
as a parameter, the digest of its stage's module and of every langtailor module reachable from it by imports. The
digest is taken over the syntax tree without docstrings, so that editing a comment or a docstring reruns nothing.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

_PACKAGE = "langtailor"
_ROOT = Path(__file__).parent
#: Modules that shape no output: configuration values reach a rule as parameters of their own.
_NEUTRAL = frozenset({f"{_PACKAGE}.{name}" for name in ("config", "errors", "progress", "codedigest")})


@cache
def code_digest(module: str) -> str:
    """Digest (16 hexadecimal digits) of a module of langtailor and of all that it imports from langtailor.

    Args:
        module: name below the package, for example ``counting`` or ``corpus.build``.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    digest = hashlib.sha256()
    for name in sorted(_reachable(f"{_PACKAGE}.{module}")):
        digest.update(f"{name}\n{_tree_text(_path(name))}\n".encode())
    return digest.hexdigest()[:16]


def _reachable(start: str) -> set[str]:
    if _path(start) is None:
        raise ModuleNotFoundError(start)
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in seen or name in _NEUTRAL or name == _PACKAGE:
            continue
        seen.add(name)
        waiting += _imports(name)
    return seen


@cache
def _imports(name: str) -> tuple[str, ...]:
    found = {name.rpartition(".")[0]}  # importing a module runs its package's __init__ first
    for node in ast.walk(ast.parse(_source(name))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(n for n in found if n.split(".")[0] == _PACKAGE and _path(n) is not None))


def _path(name: str) -> Path | None:
    base = _ROOT.joinpath(*name.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _source(name: str) -> str:
    path = _path(name)
    assert path is not None
    return path.read_text(encoding="utf-8")


def _tree_text(path: Path | None) -> str:
    assert path is not None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [child for child in body if not _is_bare_string(child)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_bare_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
