"""Settings of where sentence pairs with human scores are found."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, Strict, model_validator

from langtailor.config.base import DATASET_PATTERN, Section, UserPath, distinct, problem


class StsPairs(Section):
    """Sentence pairs with human similarity scores."""

    path: UserPath | None = None
    """A CSV, TSV, JSON Lines or Parquet file."""
    dataset: Annotated[str, Field(pattern=DATASET_PATTERN)] | None = None
    """Or a data set of the Hub, `owner/name`."""
    subset: str | None = None
    """Configuration of the Hub data set."""
    split: str = "test"
    """Split of the Hub data set."""
    revision: str = "main"
    """Revision of the Hub data set."""
    columns: Annotated[
        tuple[str | int, str | int, str | int],
        Strict(False),
        AfterValidator(distinct),
    ] = ("sentence1", "sentence2", "score")
    """Names of the two sentences' columns and of the score; numbers count columns of a file without a header."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.path is None) == (self.dataset is None):
            raise problem("path", "give exactly one of path and dataset")
        return self
