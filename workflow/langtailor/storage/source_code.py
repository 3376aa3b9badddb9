"""What a Python source file defines, and what each definition refers to, found by parsing it.

A *definition* is a statement at the top level of a module: a function, a class, an assignment. It is known by the
digest of its syntax tree without docstrings and import statements, so that neither the module it stands in nor the way
in which it gets its names counts. A statement that does something instead of defining a name, and a definition under a
decorator of the package (which may register it), is an *effect*: it happens to whoever imports the module.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from langtailor.storage.atomic import atomic_file

TEMPLATE_SUFFIX = ".jinja"


@dataclass(frozen=True)
class Definition:
    """A statement at the top level of a module.

    Attributes:
        names: what it binds; empty for a statement that only does something.
        digest: of its syntax tree.
        uses: identifiers in it, and ``identifier.attribute`` where an attribute of one is taken.
        imports: what its own import statements bind, as ``module.name``, by the name in it.
        decorators: identifiers of its decorators.
        templates: names of its templates.
    """

    names: list[str]
    digest: str
    uses: list[str]
    imports: dict[str, str]
    decorators: list[str]
    templates: list[str]


@dataclass(frozen=True)
class SourceFile:
    """A parsed source file.

    Attributes:
        key: digest of its content and of the Python that parsed it.
        definitions: its statements in order, but for imports.
        imports: what its import statements bind, as ``module.name``, by the name in it.
    """

    key: str
    definitions: list[Definition]
    imports: dict[str, str]

    @classmethod
    def parse(cls, content: bytes) -> SourceFile:
        """Parse the content of a file."""
        tree = ast.parse(content)
        imports = dict(_imported(tree.body))
        statements = [statement for statement in _without_import_blocks(tree.body) if not _is_docstring(statement)]
        return cls(_key(content), [_definition(statement) for statement in statements], imports)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> SourceFile:
        """Inverse of ``dataclasses.asdict``. Raises ``TypeError`` or ``KeyError`` on foreign data."""
        definitions = [Definition(**definition) for definition in data["definitions"]]  # type: ignore[attr-defined]
        return cls(**{**data, "definitions": definitions})  # type: ignore[arg-type]


class SourceFiles:
    """Parsed source files, remembered in a file that nobody needs: parsing the package takes longer than a plan.

    Args:
        memory: the file; where it cannot be read or written, sources are parsed again.
    """

    def __init__(self, memory: Path) -> None:
        self._memory, self._grown = memory, False
        try:
            stored = json.loads(memory.read_text(encoding="utf-8"))
            self._files = {name: SourceFile.from_json(data) for name, data in stored.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self._files = {}

    def parsed(self, path: Path) -> SourceFile:
        """The parsed file; read from the memory where the content has not changed."""
        content, name = path.read_bytes(), str(path.resolve())
        if name not in self._files or self._files[name].key != _key(content):
            self._files[name], self._grown = SourceFile.parse(content), True
        return self._files[name]

    def remember(self) -> None:
        """Write what was parsed."""
        if self._grown:
            text = json.dumps({name: asdict(file) for name, file in self._files.items() if Path(name).is_file()})
            with suppress(OSError), atomic_file(self._memory) as temporary:
                temporary.write_text(text, encoding="utf-8")
            self._grown = False


def _key(content: bytes) -> str:
    return hashlib.sha256(content + sys.version.encode()).hexdigest()


def _definition(statement: ast.stmt) -> Definition:
    nodes = list(ast.walk(statement))
    decorators = [use for node in getattr(statement, "decorator_list", []) for use in _uses(ast.walk(node))]
    imports = dict(_imported(nodes))
    for node in nodes:
        _strip(node)
    nodes = list(ast.walk(statement))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return Definition(
        names=sorted(_bound(statement)),
        digest=hashlib.sha256(ast.dump(statement).encode()).hexdigest(),
        uses=sorted(set(_uses(nodes))),
        imports=imports,
        decorators=decorators,
        templates=sorted({text for text in texts if text.endswith(TEMPLATE_SUFFIX)}),
    )


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a statement binds in its module."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return {
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    return set()


def _uses(nodes: Iterator[ast.AST] | list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def _imported(nodes: list[ast.stmt] | list[ast.AST]) -> Iterator[tuple[str, str]]:
    """Names that import statements bind, with what they stand for; those in blocks among the nodes, too."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.If) and _is_import_block(node):
            yield from _imported(node.body)


def _without_import_blocks(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    imports = ast.Import | ast.ImportFrom
    return (s for s in statements if not isinstance(s, imports) and not (isinstance(s, ast.If) and _is_import_block(s)))


def _is_import_block(node: ast.If) -> bool:
    """``if TYPE_CHECKING:`` with imports alone."""
    return not node.orelse and all(isinstance(part, ast.Import | ast.ImportFrom) for part in node.body)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _strip(node: ast.AST) -> None:
    """Take docstrings and import statements out of a node's body."""
    body = getattr(node, "body", None)
    if isinstance(body, list):
        imports = ast.Import | ast.ImportFrom
        node.body = [part for part in body if not _is_docstring(part) and not isinstance(part, imports)]  # type: ignore[attr-defined]
