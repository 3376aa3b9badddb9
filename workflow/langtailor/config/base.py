"""What all sections of the configuration share: how values are checked, and types of values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

SPLITS = ("train", "validation", "test")
#: Names that become a path component: nothing that leaves the folder or hides in it.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
#: A data set of the Hub.
DATASET_PATTERN = r"^[\w.-]+/[\w.-]+$"
#: Snakemake takes these in a path for wildcards and path variables.
_SNAKEMAKE = re.compile(r"[{}<>]")
T = TypeVar("T")
ItemsT = TypeVar("ItemsT", bound=tuple[Any, ...])


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values are taken as they are written, and none changes later."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        unknown = [key for key in data if key not in cls.model_fields] if isinstance(data, Mapping) else []
        if unknown:
            near = difflib.get_close_matches(str(unknown[0]), cls.model_fields, n=1)
            likely = near[0] if near else _nested_key(cls, str(unknown[0]))
            hint = f"did you mean `{likely}`?" if likely else f"the keys here are {', '.join(cls.model_fields)}"
            raise problem(str(unknown[0]), f"there is no such key; {hint}")
        return data


def _nested_key(section: type[Section], key: str) -> str | None:
    """Where a section has a key further down, dotted."""
    for name, field in section.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                deeper = key if key in kind.model_fields else _nested_key(kind, key)
                if deeper:
                    return f"{name}.{deeper}"
    return None


def problem(key: str, message: str) -> PydanticCustomError:
    """What a validator of a section raises about one of its keys.

    Args:
        key: the key, dotted, below the section; empty for the section itself.
        message: what is wrong and what to do.
    """
    return PydanticCustomError("problem", "{message}", {"key": key, "message": message})


def distinct(items: ItemsT) -> ItemsT:
    """A validator of lists whose items must be distinct."""
    twice = [item for index, item in enumerate(items) if item in items[:index]]
    if twice:
        raise ValueError(f"{twice[0]!r} appears twice; name each once")
    return items


def _in_home(path: str) -> str:
    """The path with the home folder for ``~``."""
    if "{lang}" in path:
        raise ValueError("`{lang}` stands for a language in `corpus.sources` only; write the path of each file out")
    if found := _SNAKEMAKE.search(path):
        raise ValueError(f"a path must not contain {found[0]!r}, which Snakemake reads as a pattern; rename it")
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise ValueError("there is no such home folder; write the full path, or start it with ./") from error


def _path_template(path: str) -> str:
    _in_home(path.replace("{lang}", "lang"))
    return path


def _model_place(place: str) -> str:
    _in_home(place)
    return place


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
#: A list of distinct items.
Distinct = Annotated[tuple[T, ...], Strict(False), AfterValidator(distinct)]
#: A file or folder of the user's; ``~`` becomes the home folder.
UserPath = Annotated[str, AfterValidator(_in_home)]
#: The same, where ``{lang}`` stands for a language. It stays as it is written.
PathTemplate = Annotated[str, AfterValidator(_path_template)]
#: A folder, a Hub id or a package, as it is written.
ModelPlace = Annotated[str, AfterValidator(_model_place)]
