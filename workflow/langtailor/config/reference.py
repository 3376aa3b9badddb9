"""The reference of the configuration, ``config/README.md``: every key with its type, default and description."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from langtailor.config.base import DATASET_PATTERN, NAME_PATTERN
from langtailor.config.problems import yaml_number
from langtailor.config.schema import json_schema

_INTRODUCTION = """\
<!-- Generated from workflow/langtailor/config/ by `make schema`. Edit the settings there, not this file. -->

# Configuration

A run is one YAML file: `snakemake --cores all --configfile my.yaml`. Start from one of the files in this folder. A key
that is not given has its default. Unknown keys and invalid values are refused. `schema.yaml` holds the same as a JSON
schema, for editors that complete and check YAML.

Snakemake reads YAML 1.1. There `5e-5` is text: write `5.0e-5`. And `no` is false: put such names in quotes, `"no"`.
A value can also be given on the command line: `--config seed=7`, nested: `--config 'vocabulary={size: 8192}'`.
Only text that could be a number, such as the title `"2024"`, has to stand in the file.
"""
_TABLE = "| Key | Type | Default | Description |\n|---|---|---|---|"
_PLACEHOLDERS = dict.fromkeys(("languages", "language_weights", "letters", "scripts", "squad"), "<language>")
_PATTERNS = {NAME_PATTERN: "name", DATASET_PATTERN: "`owner/name`"}
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}
_BOUNDS = {
    "minimum": "{} or more",
    "exclusiveMinimum": "more than {}",
    "maximum": "{} or less",
    "exclusiveMaximum": "less than {}",
}
Node = Mapping[str, Any]


def reference_text() -> str:
    """The file's content. The kinds of evaluation tasks must be registered."""
    schema = json_schema()
    definitions = schema["$defs"]
    top = {name: node for name, node in schema["properties"].items() if not _is_section(node)}
    parts = [_INTRODUCTION, "## The run\n", *_Table(definitions, "", {**schema, "properties": top}).lines()]
    for name, node in schema["properties"].items():
        if _is_section(node):
            wrapped = {"properties": {name: node}, "required": schema["required"]}
            description = {**definitions.get(_reference(node)[0], {}), **node}["description"]
            parts += [f"\n## `{name}`\n\n{description}\n", *_Table(definitions, "", wrapped).lines()]
    return "\n".join(parts) + "\n"


def _is_section(node: Node) -> bool:
    return _reference(node)[0] != "" or "patternProperties" in node


class _Table:
    """The keys of a section and of those inside it; alternatives (``oneOf``) get tables of their own behind it."""

    def __init__(self, definitions: Mapping[str, Node], prefix: str, section: Node) -> None:
        self._definitions, self._alternatives = definitions, list[tuple[str, Node]]()
        self._rows = list(self._section(prefix, section))

    def lines(self) -> Iterator[str]:
        """The lines of the tables."""
        yield from (_TABLE, *self._rows)
        for key, alternative in self._alternatives:
            kind = alternative["properties"]["kind"]["const"]
            yield f"\n### `{key}` of the kind `{kind}`\n\n{alternative['description']}\n"
            yield from _Table(self._definitions, f"{key}.", alternative).lines()

    def _section(self, prefix: str, section: Node) -> Iterator[str]:
        for name, node in section["properties"].items():
            required = name in section.get("required", ())
            yield from self._key(f"{prefix}{name}", node, required)

    def _key(self, key: str, node: Node, required: bool) -> Iterator[str]:
        reference, nullable = _reference(node)
        if reference.endswith("Override"):
            kind = f"keys of `{key.rpartition('.')[2]}`" + (" or `null`" if nullable else "")
            yield _row(key, {"default": {}, **node}, kind, required)
        elif reference:
            if nullable and "." in key:  # the text above a section's table says it
                yield _row(key, node, "keys below or `null`", required)
            yield from self._section(f"{key}.", self._definitions[reference])
        elif "patternProperties" in node:
            yield from self._mapping(key, node, required)
        else:
            yield _row(key, node, _type(node), required)

    def _mapping(self, key: str, node: Node, required: bool) -> Iterator[str]:
        ((_, item),) = node["patternProperties"].items()
        place = f"{key}.{_PLACEHOLDERS.get(key.rpartition('.')[2], '<name>')}"
        reference, _ = _reference(item)
        if "$ref" in item or "oneOf" in item:
            yield _row(key, node, "keys and values", required)
        else:
            yield _row(place, node, _type(item), required)
        if "oneOf" in item:
            self._alternatives += [(place, self._definitions[_reference(one)[0]]) for one in item["oneOf"]]
        elif reference:
            yield from self._section(f"{place}.", self._definitions[reference])


def _row(key: str, node: Node, kind: str, required: bool) -> str:
    default = "*required*" if required else f"`{_yaml(node.get('default'))}`"
    cells = (f"`{key}`", kind, default, node.get("description", ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _yaml(value: Any) -> str:
    return yaml_number(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _reference(node: Node) -> tuple[str, bool]:
    """Name of the section that a value is, empty for none, and whether it may be null instead."""
    alternatives = node.get("anyOf", [node])
    references = [one["$ref"].rpartition("/")[2] for one in alternatives if "$ref" in one]
    return (references[0] if references else ""), {"type": "null"} in alternatives


def _type(node: Node) -> str:
    """A value's type in words."""
    if "$ref" in node:
        return "keys below"
    if "anyOf" in node:
        return " or ".join("`null`" if one == {"type": "null"} else _type(one) for one in node["anyOf"])
    if "const" in node or "enum" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if node["type"] == "array":
        return f"list of {len(node['prefixItems'])}" if "prefixItems" in node else f"list: {_type(node['items'])}"
    kind = _PATTERNS.get(node.get("pattern", ""), _TYPES[node["type"]])
    bounds = [text.format(_number(node[bound])) for bound, text in _BOUNDS.items() if bound in node]
    return f"{kind} ({', '.join(bounds)})" if bounds else kind


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else str(value)
