"""From a configuration to checked settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from langtailor.config.base import Section
from langtailor.config.fit import check_run, check_variant
from langtailor.config.problems import dotted, explained, read_as, shown
from langtailor.config.run import Settings
from langtailor.config.variants import Variant
from langtailor.config.yaml_file import ConfigFile, Place
from langtailor.errors import ConfigError

SectionT = TypeVar("SectionT", bound=Section)


def validated_settings(config: Any, files: Sequence[ConfigFile] = ()) -> Settings:
    """Turn a configuration into :class:`Settings`.

    Args:
        config: the configuration.
        files: the files that it was read from, which show how a value is written; the last one takes precedence.

    Raises:
        ConfigError: names the key, what was found, what is allowed and what to write.
    """
    if not isinstance(config, Mapping) or not config:
        found = "is empty" if not config else f"must hold keys and values; found {shown(config)}"
        raise ConfigError("(top level)", f"{found}; start from one of the files in config/")
    _refuse_odd_keys(config, files)
    settings = _validated(Settings, config, (), files)
    for name in settings.variants:
        variant = _validated(Variant, settings.merged_variant(name), ("variants", name), files)
        check_variant(settings, name, variant)
    check_run(settings)
    return settings


def refuse_unwritable(root: Path) -> None:
    """Refuse a place for results where nothing can be written.

    Raises:
        ConfigError: names the folder or file that is in the way.
    """
    existing = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = "you cannot write there" if existing.is_dir() else "it is a file"
        raise ConfigError("results", f"{root} cannot be made in {existing}: {reason}; name another folder")


def _validated(model: type[SectionT], data: Any, place: Place, files: Sequence[ConfigFile]) -> SectionT:
    def written(where: Place, value: Any) -> str | None:
        return next(filter(None, (file.written_value(where, value) for file in reversed(files))), None)

    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explained(error, data, place, written) from error


def _refuse_odd_keys(config: Mapping[Any, Any], files: Sequence[ConfigFile]) -> None:
    """Refuse keys that YAML reads as something else than text: ``no``, ``on``, numbers and dates."""
    pending: list[tuple[Place, Any]] = [((), config)]
    seen: set[int] = set()
    while pending:
        place, value = pending.pop()
        if not isinstance(value, Mapping | list) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, list):
            pending += [((*place, index), item) for index, item in enumerate(value)]
            continue
        for key in value:
            if not isinstance(key, str):
                raise _odd_key(place, key, files)
        pending += [((*place, key), item) for key, item in value.items()]


def _odd_key(place: Place, key: Any, files: Sequence[ConfigFile]) -> ConfigError:
    written = next(filter(None, (file.written_key(place, key) for file in reversed(files))), None)
    example = written or {False: "no", True: "on"}.get(key, shown(key))
    return ConfigError(
        dotted(place) or "(top level)",
        f'the key {example} is not text: YAML reads it as {read_as(key)}; put it in quotes: "{example}"',
    )
