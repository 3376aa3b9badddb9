"""Values of ``--config``: Snakemake reads a plain number as a number, but ``null`` as text, and all inside ``{}`` or ``[]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Not ``007``, whose digits say more than the number does.
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
_CONSTANTS = {"true": True, "false": False, "null": None}


def with_typed_arguments(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with numbers, ``true``, ``false`` and ``null`` for what is nested in values of ``--config``.

    So ``--config 'vocabulary={size: 100}'`` gives a number, as ``--config seed=7`` does.

    Args:
        config: the configuration, into which Snakemake has merged the arguments.
        arguments: the arguments alone; what ``config`` has from elsewhere stays as it is.
    """
    return {key: _top_value(value, arguments.get(key)) for key, value in config.items()}


def argument_at(arguments: Mapping[str, Any], key: str) -> Any:
    """The plain value that the command line gives a key, dotted; ``None`` where it gives none."""
    value: Any = arguments
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if isinstance(value, Mapping | list) else value


def _top_value(value: Any, argument: Any) -> Any:
    """A value that is not nested: Snakemake has read it, but for ``null``."""
    if not isinstance(value, str):
        return _typed(value, argument)
    return None if value == argument == "null" else value


def _typed(value: Any, argument: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(argument, Mapping):
        return {key: _typed(item, argument.get(key)) for key, item in value.items()}
    if value != argument:
        return value
    if isinstance(value, list):
        return [_typed(item, item) for item in value]
    return _constant(value) if isinstance(value, str) else value


def _constant(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if number := _NUMBER.fullmatch(text):
        return float(text) if number[2] or number[3] else int(text)
    return text
