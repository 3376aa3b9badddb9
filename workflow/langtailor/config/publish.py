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
            f"a repository of the Hub is written owner/name, in which {_VARIANT} may stand for the variant"
        )
    return repo


class PublishSettings(Section):
    """What `snakemake publish` puts on the Hub, and where. Without that target nothing is published."""

    repo: Annotated[str, AfterValidator(_repository_template)] | None = None
    """Model repository (`owner/name`) of the student with its card and exports; `{variant}` in it stands for the variant, and
    is needed where there are several. `null` publishes no model."""
    vectors: Annotated[str, Field(pattern=DATASET_PATTERN)] | None = None
    """Data set (`owner/name`) of the teacher's vectors, which other runs can take over (`vectors.source`). `null` publishes
    none."""
    private: bool = True
    """Whether the repositories are private. One that is public already is refused where this is true."""
    text: bool = False
    """Whether the data set holds the passages' text, too. Set it only where the licences of your sources allow that."""

    @property
    def names_variant(self) -> bool:
        """Whether each variant has a repository of its own."""
        return self.repo is not None and _VARIANT in self.repo

    def model_repo(self, variant: str) -> str | None:
        """The repository of a variant's student."""
        return None if self.repo is None else self.repo.replace(_VARIANT, variant)
