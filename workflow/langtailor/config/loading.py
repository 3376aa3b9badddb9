"""From a configuration file to checked settings, and plain words for what is wrong in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from langtailor.config.base import Section
from langtailor.config.run import Settings, Variant
from langtailor.errors import ConfigError

SectionT = TypeVar("SectionT", bound="Section")


def explain_invalid(config: Mapping[str, Any], error: Exception) -> str:
    """One message for a configuration that the schema refused: each key, its value and what is allowed.

    Args:
        config: the configuration as the user wrote it.
        error: what Snakemake's ``validate`` raised; shown as it is when the models find nothing wrong.
    """
    try:
        validated_settings(config)
    except ConfigError as better:
        return str(better)
    return str(error)


def refuse_repeated_keys(file: Path) -> None:
    """Refuse a configuration file in which a key stands twice: YAML's reader would take the last and say nothing.

    Raises:
        ConfigError: names the key and the line of each place.
    """
    try:
        waiting: list[tuple[yaml.Node | None, tuple[str, ...]]] = [(yaml.compose(file.read_text(encoding="utf-8")), ())]
    except yaml.YAMLError:
        return  # JSON, which Snakemake takes too, is not always YAML
    while waiting:
        node, place = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, place) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                where = ".".join((*place, name))
                raise ConfigError(
                    where, f"stands twice in {file}, in lines {lines[name]} and {line}; leave one of them out"
                )
            lines[name] = line
            waiting.append((value, (*place, name)))


def refuse_unwritable(root: Path) -> None:
    """Refuse a place for results where nothing can be written.

    Raises:
        ConfigError: names the folder or file that is in the way.
    """
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "you may not write there" if there.is_dir() else "it is a file"
        raise ConfigError("results", f"{root} cannot be made in {there}: {reason}; name another folder")


def validated_settings(config: Mapping[str, Any]) -> Settings:
    """Turn a configuration that has passed the schema into :class:`Settings`.

    Raises:
        ConfigError: names each offending key, its value and what is allowed.
    """
    settings = _validated(Settings, config)
    for name in settings.variants:
        _validated(Variant, settings._merged(name), "variants", name)
    return settings


def _validated(model: type[SectionT], data: Any, *place: str) -> SectionT:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in (*place, *first["loc"])) or "(whole)"
        more = f" ({error.error_count() - 1} more problems after this one)" if error.error_count() > 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(key, f"{message}; found {_shown(first['input'])}{more}") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
