"""From a configuration to checked settings: the one way in, which first registers kinds of tasks and formats of exports.

Run as a module it describes the settings (``make schema``): ``python -m langtailor.planning.configuration config``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from langtailor.config.command_line import argument_at, with_typed_arguments
from langtailor.config.loading import validated_settings
from langtailor.config.reference import reference_text
from langtailor.config.run import Settings
from langtailor.config.schema import schema_text
from langtailor.config.yaml_file import ConfigFile
from langtailor.errors import ConfigError
from langtailor.evaluation.tasks import register_tasks
from langtailor.export.formats import register_formats
from langtailor.storage.digests import sha256_bytes

#: Characters that a name may have (:data:`langtailor.config.base.NAME_PATTERN`).
_LONGEST_NAME = 64


def load_settings(config: Any, files: Sequence[Path] = (), arguments: Mapping[str, Any] | None = None) -> Settings:
    """Turn a configuration into settings.

    Args:
        config: the configuration, merged from files and arguments.
        files: the files that it was read from, in the order in which they were merged.
        arguments: what was merged last, as the command line has it (Snakemake's ``--config``).

    Raises:
        ConfigError: names the key, what was found, what is allowed and what to write.
    """
    register_tasks()
    register_formats()
    written = [ConfigFile.read(Path(file)) for file in files]
    for file in written:
        file.refuse_repeated_keys()
    if arguments:
        config = with_typed_arguments(config, arguments)
    try:
        return validated_settings(_with_run(config, files), written)
    except ConfigError as error:
        raise _without_quotes(error, arguments or {}) from error


def _without_quotes(error: ConfigError, arguments: Mapping[str, Any]) -> ConfigError:
    """The error; one that advises quotes says instead what to do on a command line, where Snakemake takes them off."""
    value = argument_at(arguments, error.key)
    if value is None or "must be text" not in str(error):
        return error
    return ConfigError(
        error.key,
        f"must be text, but `--config` reads {value} as a number or a constant, even in quotes; write it into the "
        f'configuration file: "{value}"',
    )


def _with_run(config: Any, files: Sequence[Path]) -> Any:
    """The configuration, with the name of its last file for ``run`` where it gives none."""
    if not files or not isinstance(config, Mapping) or "run" in config or not config:
        return config
    return {"run": run_name(Path(files[-1])), **config}


def run_name(file: Path) -> str:
    """A name for a run from that of its file, with a digest of it where too little is left of it, or it is too long."""
    name = re.sub("[^A-Za-z0-9_-]+", "-", file.stem).strip("-_")
    if 0 < len(name) <= _LONGEST_NAME:
        return name
    digest = sha256_bytes(os.fsencode(file.stem))[:8]
    return f"{name[: _LONGEST_NAME - 1 - len(digest)] or 'run'}-{digest}"


def read_settings(file: Path) -> Settings:
    """The settings that a file describes.

    Raises:
        ConfigError: the file cannot be read, or a value is wrong.
    """
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(str(file), f"cannot be read as a configuration: {error}") from error
    return load_settings(config, [file])


def descriptions() -> dict[str, str]:
    """Files that describe the settings, by name in ``config/``."""
    register_tasks()
    register_formats()
    return {"schema.yaml": schema_text(), "README.md": reference_text()}


if __name__ == "__main__":
    for name, text in descriptions().items():
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
