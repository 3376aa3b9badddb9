"""Settings of what the student is made of, and of its size besides its vocabulary."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from langtailor.config.base import Distinct, ModelPlace, Name, Section, problem
from langtailor.config.teacher import TeacherSettings

#: The settings of another encoder, which all variants share.
ENCODER_KEYS = ("model", "revision", "prompt", "language_prompts", "trust_remote_code")


class StudentSettings(Section):
    """What the student is made of, if not of the whole teacher. Training makes up for what is missing."""

    model: Annotated[ModelPlace, Field(min_length=1)] | None = None
    """Another encoder to make the students of, named like `teacher.model`, for a teacher that is too large to serve. Its
    vocabulary is cut, and a Dense module at its end maps its vectors to the teacher's, which it is trained to give. `null`
    makes the students of the teacher. All variants share it."""
    revision: str = "main"
    """Branch, tag or commit of that encoder on the Hub."""
    prompt: str | None = None
    """Prompt before each text that the students of that encoder read; as `teacher.prompt`, which the teacher keeps."""
    language_prompts: dict[Name, str] = {}
    """Other prompts for some languages; as `teacher.language_prompts`."""
    trust_remote_code: bool = False
    """Run Python code that comes with that encoder. Leave this off unless you have read that code."""
    layers: Annotated[int, Field(ge=1)] | Distinct[Annotated[int, Field(ge=0)]] | None = None
    """How many of its model's layers the student keeps, or a list of their numbers from 0; `null` keeps all."""
    layer_choice: Literal["evenly", "first", "last", "agreement"] = "evenly"
    """Which layers to keep, if only their number is given: `evenly` spaced (including the first and the last one), the
    `first`, or the `last`; `agreement` leaves out one layer after another, each time the one whose absence changes the
    vectors of validation text least."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Length of the student's vectors: a Dense module at its end projects to that many dimensions, in the way that
    keeps the cosines of near texts best. The teacher's stored vectors are projected in the same way for training and
    comparison; `null` keeps the teacher's length."""

    @model_validator(mode="after")
    def _check(self) -> StudentSettings:
        if self.layers == ():
            raise problem("layers", "the list is empty; a student needs a layer")
        return self

    @property
    def encoder(self) -> TeacherSettings | None:
        """How that encoder is read; `None` if the students are made of the teacher."""
        if self.model is None:
            return None
        return TeacherSettings(**{key: getattr(self, key) for key in ENCODER_KEYS})

    @property
    def tries_layers(self) -> bool:
        """Whether the layers to keep are found by leaving out others."""
        return self.layer_choice == "agreement" and isinstance(self.layers, int)

    @property
    def reads_text(self) -> bool:
        """Whether text is read to make the clone smaller: to try layers, or to map another encoder's vectors."""
        return self.model is not None or self.tries_layers

    @property
    def is_reduced(self) -> bool:
        """Whether the student has other layers or dimensions than its clone, or vectors of another model."""
        return self.layers is not None or self.dimensions is not None or self.model is not None
