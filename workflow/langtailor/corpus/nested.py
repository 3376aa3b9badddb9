"""Fields inside fields, named by a path: ``translation.tr`` is the field ``tr`` of the column ``translation``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


class MissingFieldError(Exception):
    """A record has no such field; the message says which it has."""


def value_at(values: Mapping[str, Any], path: str) -> Any:
    """A field of a record; null where a field on the way is null.

    Raises:
        MissingFieldError: there is no such field.
    """
    if path in values:  # a name with a dot in it
        return values[path]
    value: Any = values
    place = "it"
    for name in path.split("."):
        if value is None:
            return None
        names = list(value) if isinstance(value, Mapping) else []
        if name not in names:
            raise MissingFieldError(f"has no field {path!r}; {place} has {', '.join(map(str, names)) or 'none'}")
        value, place = value[name], repr(name)
    return value


def type_at(schema: pa.Schema, path: str) -> pa.DataType | None:
    """Type of a column, or of a field of a struct; ``None`` where there is no such."""
    if path in schema.names:
        return schema.field(path).type
    kind: Any = pa.struct(list(schema))
    for name in path.split("."):
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return kind


def column_at(table: pa.Table, path: str) -> pa.ChunkedArray:
    """A column, or a field of a struct; null where the struct is null."""
    if path in table.column_names:
        return table[path]
    top, *names = path.split(".")
    return pc.struct_field(table[top], names)


def paths_in(schema: pa.Schema) -> list[str]:
    """All columns, and instead of a struct its fields."""
    return [path for field in schema for path in _paths(field.name, field.type)]


def _paths(name: str, kind: pa.DataType) -> list[str]:
    if not pa.types.is_struct(kind):
        return [name]
    return [path for field in kind for path in _paths(f"{name}.{field.name}", field.type)]
