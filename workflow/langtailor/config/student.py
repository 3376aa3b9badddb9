"""Settings of the student's size besides its vocabulary."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from langtailor.config.base import Distinct, Section, problem


class StudentSettings(Section):
    """The student's layers and dimensions, if fewer than the teacher's. Training makes up for what is missing."""

    layers: Annotated[int, Field(ge=1)] | Distinct[Annotated[int, Field(ge=0)]] | None = None
    """How many of the teacher's layers the student keeps, or a list of their numbers from 0; `null` keeps all."""
    layer_choice: Literal["evenly", "first", "last"] = "evenly"
    """Which layers to keep, if only their number is given: `evenly` spaced (including the first and the last one), the
    `first`, or the `last`."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Length of the student's vectors: a Dense module at its end projects to that many principal components of the
    teacher's stored vectors, which are projected in the same way for training and comparison; `null` keeps the
    teacher's length."""

    @model_validator(mode="after")
    def _check(self) -> StudentSettings:
        if self.layers == ():
            raise problem("layers", "the list is empty; a student needs a layer")
        return self

    @property
    def is_reduced(self) -> bool:
        """Whether the student has fewer layers or dimensions than its clone."""
        return self.layers is not None or self.dimensions is not None
