"""Settings of publishing."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from langtailor.config.base import DATASET_PATTERN, Section

_VARIANT = "{variant}"


def _repository_template(repo: str) -> str:
    if re.fullmatch(DATASET_PATTERN, repo.replace(_VARIANT, "variant")) is None:
        raise ValueError(
            f"a repository of the Hub has the form owner/name, which may contain {_VARIANT} for the variant"
        )
    return repo


class PublishSettings(Section):
    """What `snakemake publish` uploads to the Hub, and where. Only that target publishes."""

    repo: Annotated[str, AfterValidator(_repository_template)] | None = None
    """Model repository (`owner/name`) for the student with its card and exports; `{variant}` in it stands for the
    variant, and is required if there are several. `null` publishes no model."""
    vectors: Annotated[str, Field(pattern=DATASET_PATTERN)] | None = None
    """Data set (`owner/name`) for the teacher's vectors, which other runs can use (`vectors.source`). `null` publishes
    none."""
    private: bool = True
    """Whether new repositories are private. If true, a repository that is already public is refused."""
    text: bool = False
    """Whether the data set also holds the passages' text. Set it only if the licences of your sources allow that."""

    @property
    def names_variant(self) -> bool:
        """Whether each variant has a repository of its own."""
        return self.repo is not None and _VARIANT in self.repo

    def model_repo(self, variant: str) -> str | None:
        """The repository of a variant's student."""
        return None if self.repo is None else self.repo.replace(_VARIANT, variant)
