"""One message for a wrong value: its key, what was found, what is allowed, and what to write."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from langtailor.config.base import DATASET_PATTERN, NAME_PATTERN
from langtailor.config.yaml_file import Place
from langtailor.errors import ConfigError

#: How the file writes the value at a place; ``None`` where nothing is known.
Written = Callable[[Place, Any], str | None]
_LONGEST = 200
_ALLOWED = {
    "bool_type": "must be true or false",
    "dict_type": "must hold keys and values",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "missing": "is missing and has no default",
    "model_type": "must hold keys and values",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}
_PATTERNS = {
    NAME_PATTERN: "must be a name of letters, digits, `_` and `-`, at most 64, that starts with a letter or a digit",
    DATASET_PATTERN: "must be the `owner/name` of a data set",
}


def explained(error: ValidationError, data: Any, place: Place = (), written: Written = lambda *_: None) -> ConfigError:
    """The first thing that is wrong, in words.

    Args:
        error: what pydantic found.
        data: what was validated.
        place: the path of ``data`` in the configuration.
        written: how a value is written in the user's file.
    """
    errors = error.errors()
    first = _plainest(errors, data)
    context = first.get("ctx", {})
    where = (*place, *_place(first, data))
    further = len({_place(other, data) for other in errors}) - 1
    more = f" (and {further} more after this one)" if further else ""
    if first["type"] == "problem":
        return ConfigError(f"{dotted(where)}.{context['key']}".strip("."), context["message"] + more)
    value, message = first["input"], _allowed(first)
    if first["loc"][-1:] == ("[key]",):
        return ConfigError(dotted(where[:-1]), f"the key {value!r} {message}{more}")
    if first["type"] != "missing":
        message += f"; found {shown(value)}{_advice(first['type'], value, written(where, value))}"
    return ConfigError(dotted(where), message + more)


def _plainest(errors: Sequence[ErrorDetails], data: Any) -> ErrorDetails:
    """The first error; of a value that may have several types, what is wrong with it as the type that it has."""
    first = errors[0]
    place = _place(first, data)
    as_its_type = (e for e in errors if _place(e, data)[: len(place)] == place and not e["type"].endswith("_type"))
    return next(as_its_type, first) if first["type"].endswith("_type") else first


def dotted(place: Place) -> str:
    """A place as a key: ``a.b[0]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def _place(error: ErrorDetails, data: Any) -> Place:
    """The path of a value: pydantic's location without the names of alternatives, which are not keys."""
    place: list[str | int] = []
    for part in error["loc"]:
        items = dict(enumerate(data)) if isinstance(data, list | tuple) else data
        if isinstance(items, Mapping) and part in items:
            place.append(part)
            data = items[part]
    return (*place, error["loc"][-1]) if error["type"] == "missing" else tuple(place)


def _allowed(error: ErrorDetails) -> str:
    """What pydantic says is allowed, in our words where we have any."""
    context = error.get("ctx", {})
    match error["type"]:
        case "string_pattern_mismatch":
            return _PATTERNS[context["pattern"]]
        case "too_long":
            return f"must have {context['max_length']} entries"
        case kind if kind in _ALLOWED:
            return _ALLOWED[kind]
    return error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")


def _advice(kind: str, value: Any, written: str | None) -> str:
    """What to write instead, where the value shows what was meant."""
    match kind, value:
        case "string_type", bool() | int() | float() | datetime.date():
            read = f", which is how YAML reads {written}" if written and written != shown(value) else ""
            return f'{read}; put it in quotes: "{written or shown(value)}"'
        case "int_type" | "float_type", str() | float():
            return _number_advice(kind, value)
        case "bool_type", str() if value.lower() in ("true", "yes", "on", "false", "no", "off"):
            return f"; write {shown(value.lower() in ('true', 'yes', 'on'))} without quotes"
        case "tuple_type", str() | int() | float():
            return f"; write [{value}]"
        case "dict_type" | "model_type", None | "":
            return "; write {} for the defaults"
        case "model_type", False:
            return "; write null for none"
        case "dict_type", [str(), *_]:
            return f"; write {{{', '.join(f'{item}: ...' for item in value)}}}"
    return ""


def _number_advice(kind: str, value: str | float) -> str:
    try:
        number = float(value)
    except ValueError:
        return ""
    if not math.isfinite(number) or (kind == "int_type" and not number.is_integer()):
        return ""
    text = str(int(number)) if kind == "int_type" else yaml_number(number)
    return f", which YAML reads as text; write {text}" if isinstance(value, str) else f"; write {text}"


def yaml_number(number: float) -> str:
    """A number as YAML 1.1 reads it: with a point before the exponent."""
    digits, _, exponent = repr(number).partition("e")
    if not exponent:
        return digits
    return f"{digits if '.' in digits else digits + '.0'}e{int(exponent):+d}"


def read_as(value: Any) -> str:
    """What YAML takes something for that is not text."""
    match value:
        case None | bool():
            return shown(value)
        case int() | float():
            return "a number"
    return "a date"


def shown(value: Any) -> str:
    """A value as a file of YAML has it, shortened."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return str(value).replace("inf", ".inf").replace("nan", ".nan")
        case datetime.date():
            return str(value)
        case Mapping():
            return "keys and values" if value else "{}"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
