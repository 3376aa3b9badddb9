"""Settings of the training for retrieval."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from langtailor.config.base import Name, problem
from langtailor.config.distillation import DistillationSettings, ObjectiveSettings


class RetrievalObjective(ObjectiveSettings):
    """Weights of the terms of the loss; the loss is their sum. A weight of 0 leaves a term out."""

    ranks_candidates: ClassVar[bool] = True

    listwise: Annotated[float, Field(ge=0)] = 0.1
    """Kullback-Leibler divergence of the student's scores of the candidates from the teacher's."""


class RetrievalSettings(DistillationSettings):
    """How the student is trained on queries and documents, after `distillation` and with the same keys."""

    section: ClassVar[str] = "retrieval"
    validation_key: ClassVar[str] = "queries.validation"

    objective: RetrievalObjective = RetrievalObjective()
    """The terms of the loss. `cosine` keeps the space of the teacher's vectors, `listwise` its ranking."""
    language_weights: dict[Name, Annotated[float, Field(ge=0)]] = {}
    """How often each text is seen per epoch, for one side of a language: `tr-queries`, `tr-documents`. The default is
    1, and 0 leaves a side out."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Queries and documents per optimiser step, over all devices."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    """Peak learning rate of the backbone."""
    keep: Literal["loss", "cosine", "last"] = "loss"
    """Which weights become the student: those with the lowest validation loss (`loss`), with the highest mean cosine to
    the teacher (`cosine`), or the last ones (`last`)."""

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if self.validation_sts is not None:
            raise problem("validation_sts", "`validation_sts` is only supported in `distillation`; leave it out here")
        return self
