"""Settings of the exports, and the registry of their formats."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticKnownError

from langtailor.config.base import Distinct, Section, Share


@dataclass(frozen=True)
class Bounds:
    """How near an export has to stay to its student.

    Attributes:
        mean_cosine: least mean cosine to the student's vectors, in each language.
        least_cosine: least cosine of any text.
        points: most points of Spearman's correlation, times 100, that an STS task may lose.
    """

    mean_cosine: float
    least_cosine: float
    points: float


class ExportFormat:
    """What the configuration knows of a format. Each is a subclass whose docstring describes it to users.

    Attributes:
        name: as ``export.formats`` names it.
        bounds: what it can be held to.
    """

    name: ClassVar[str]
    bounds: ClassVar[Bounds]

    @classmethod
    def module(cls) -> str:
        """The module of the format, by its name below the package."""
        return cls.__module__.partition(".")[2]

    @classmethod
    def description(cls) -> str:
        """What the format is, with its bounds."""
        bounds = f"{cls.bounds.mean_cosine}, {cls.bounds.least_cosine}, {cls.bounds.points:g}"
        return f"`{cls.name}` ({bounds}): {inspect.getdoc(cls)}"


FormatT = TypeVar("FormatT", bound=type[ExportFormat])
_FORMATS: dict[str, type[ExportFormat]] = {}


def export_format(made: FormatT) -> FormatT:
    """Register a format; a decorator of its class.

    Raises:
        ValueError: another class has this name.
    """
    if made.name in _FORMATS:
        raise ValueError(f"two formats of exports are called {made.name!r}")
    _FORMATS[made.name] = made
    return made


def export_formats() -> dict[str, type[ExportFormat]]:
    """The registered formats, by name, sorted."""
    return dict(sorted(_FORMATS.items()))


def _registered(name: str) -> str:
    if name not in _FORMATS:
        *some, last = map(repr, export_formats())
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(some)} or {last}"})
    return name


#: The schema of a format's name is entered by langtailor.config.schema: none is registered yet when this module is imported.
Format = Annotated[str, AfterValidator(_registered), WithJsonSchema({"enum": []})]


class ExportSettings(Section):
    """Formats to which the student is exported, and how near each export must stay to it."""

    formats: Distinct[Format] = ()
    """Formats to export to. The brackets hold each format's default for the three bounds below."""
    mean_cosine: Share | None = None
    """Lowest allowed mean cosine to the student's own vectors, in each language; `null` uses the format's default."""
    least_cosine: Share | None = None
    """Lowest allowed cosine of any text; `null` uses the format's default."""
    points: Annotated[float, Field(ge=0)] | None = None
    """Points that an STS task may lose; `null` uses the format's default."""

    def bounds(self, name: str) -> Bounds:
        """The bounds of a format."""
        default = _FORMATS[name].bounds
        return Bounds(
            default.mean_cosine if self.mean_cosine is None else self.mean_cosine,
            default.least_cosine if self.least_cosine is None else self.least_cosine,
            default.points if self.points is None else self.points,
        )


def enter_formats(definitions: dict[str, Any]) -> None:
    """Complete the JSON schema of :class:`ExportSettings` with the registered formats.

    Args:
        definitions: the schema's ``$defs``.
    """
    formats = definitions["ExportSettings"]["properties"]["formats"]
    formats["items"] = {"enum": [*export_formats()], "type": "string"}
    described = " ".join(made.description() for made in export_formats().values())
    formats["description"] += f" {described}"
