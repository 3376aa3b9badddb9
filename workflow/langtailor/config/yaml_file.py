"""What only the text of a configuration file can tell: repeated keys, and how a value is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from langtailor.errors import ConfigError

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file as nodes of YAML.

    Attributes:
        path: the file.
        root: its top node; ``None`` for an empty file and one that cannot be read.
    """

    path: Path
    root: yaml.Node | None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse a file that has been read as a configuration before."""
        try:
            text = path.read_text(encoding="utf-8")
            # JSON may be indented by tabs, YAML may not.
            return cls(path, yaml.compose(text.replace("\t", " ") if text.lstrip().startswith("{") else text))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return cls(path, None)

    def refuse_repeated_keys(self) -> None:
        """Refuse a file that gives a key twice: YAML's reader would silently take the last.

        Raises:
            ConfigError: names the key and the line of each place.
        """
        for place, mapping in _mappings(self.root):
            lines: dict[str, int] = {}
            for key, _ in mapping.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines:
                    where = f"in lines {lines[name]} and {line}"
                    raise ConfigError(
                        ".".join((*map(str, place), name)),
                        f"is given twice in {self.path}, {where}; leave one of them out",
                    )
                lines[name] = line

    def written_key(self, place: Place, key: Any) -> str | None:
        """How the file writes a key that YAML does not read as text; ``None`` where it has no such key."""
        node = self._node(place)
        keys = [written for written, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        return next((str(written.value) for written in keys if _is(written, key)), None)

    def written_value(self, place: Place, value: Any) -> str | None:
        """How the file writes a value that YAML does not read as text; ``None`` where it has no such value."""
        node = self._node(place)
        return str(node.value) if node is not None and _is(node, value) else None

    def _node(self, place: Place) -> yaml.Node | None:
        node = self.root
        for part in place:
            if isinstance(node, yaml.MappingNode):
                node = next((value for key, value in node.value if key.value == str(part)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            else:
                return None
        return node


def _is(node: yaml.Node, value: Any) -> bool:
    """Whether a plain scalar is read as a value that is not text."""
    return isinstance(node, yaml.ScalarNode) and node.style is None and yaml.safe_load(node.value) == value


def _mappings(root: yaml.Node | None) -> Iterator[tuple[Place, yaml.MappingNode]]:
    """All mappings with the keys that lead to them; one that an alias repeats comes once."""
    pending: list[tuple[Place, yaml.Node | None]] = [((), root)]
    seen: set[int] = set()
    while pending:
        place, node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += [(place, item) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            yield place, node
            pending += [((*place, str(key.value)), value) for key, value in node.value]
