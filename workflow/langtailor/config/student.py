"""Settings of the student's size beside its vocabulary."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from langtailor.config.base import Distinct, Section, problem


class StudentSettings(Section):
    """What the student has less of than the teacher, beside tokens. What is missing is learned again in the training."""

    layers: Annotated[int, Field(ge=1)] | Distinct[Annotated[int, Field(ge=0)]] | None = None
    """How many of the teacher's layers the student has, or their numbers from 0; `null` keeps all."""
    layer_choice: Literal["evenly", "first", "last"] = "evenly"
    """Which layers, where only their number is given: `evenly` spaced, the first and the last one among them; the `first`; or
    the `last`."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Length of the student's vectors: a Dense module at its end projects to that many principal components of the teacher's
    stored vectors, which are projected likewise for training and comparison; `null` keeps the teacher's length."""

    @model_validator(mode="after")
    def _check(self) -> StudentSettings:
        if self.layers == ():
            raise problem("layers", "the list is empty; a student needs a layer")
        return self

    @property
    def is_reduced(self) -> bool:
        """Whether the student has fewer layers or dimensions than its clone."""
        return self.layers is not None or self.dimensions is not None
