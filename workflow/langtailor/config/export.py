"""Settings of the exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from langtailor.config.base import Distinct, Section, Share

Format = Literal["onnx", "onnx-int8", "onnx-int8-weights"]


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


#: What each format can be held to.
DEFAULT_BOUNDS = {
    "onnx": Bounds(0.9999, 0.999, 0.1),
    "onnx-int8": Bounds(0.995, 0.97, 0.5),
    "onnx-int8-weights": Bounds(0.998, 0.99, 0.3),
}


class ExportSettings(Section):
    """To which runtimes the student is exported, and how near each export has to stay to it."""

    formats: Distinct[Format] = ()
    """`onnx`: the whole model, pooling and Dense modules included, as one graph in float32. `onnx-int8`: products and
    embedding table in 8 bits, a quarter of the bytes and faster on a CPU. `onnx-int8-weights`: only the
    weights in 8 bits, a quarter of the bytes, nearly exact, no faster."""
    mean_cosine: Share | None = None
    """Least mean cosine to the student's own vectors, in each language; `null` takes 0.9999, 0.995 and 0.998 for the
    formats in the order above."""
    least_cosine: Share | None = None
    """Least cosine of any text; `null` takes 0.999, 0.97 and 0.99."""
    points: Annotated[float, Field(ge=0)] | None = None
    """Points that an STS task may lose; `null` takes 0.1, 0.5 and 0.3."""

    def bounds(self, name: str) -> Bounds:
        """The bounds of a format."""
        default = DEFAULT_BOUNDS[name]
        return Bounds(
            default.mean_cosine if self.mean_cosine is None else self.mean_cosine,
            default.least_cosine if self.least_cosine is None else self.least_cosine,
            default.points if self.points is None else self.points,
        )
