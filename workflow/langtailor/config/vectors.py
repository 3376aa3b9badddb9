"""Settings of the teacher's vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple

from pydantic import Field

from langtailor.config.base import DATASET_PATTERN, Section


class VectorSource(Section):
    """A data set of the Hub with a teacher's vectors, as `snakemake publish` makes it."""

    dataset: Annotated[str, Field(pattern=DATASET_PATTERN)]
    """`owner/name` of the data set."""
    revision: str = "main"
    """Branch, tag or commit; resolved once to a commit and recorded."""


class VectorSettings(Section):
    """How the teacher's vectors are computed and stored."""

    shard_passages: Annotated[int, Field(ge=1)] = 10_000
    """Passages in one shard, a file of one language. An interrupted job loses at most one shard, and a later run can
    reuse complete ones."""
    passages_per_job: Annotated[int, Field(ge=1)] = 60_000
    """Passages that one job embeds, in shards of one language or several: starting a job costs as much as encoding
    thousands of passages. Lower it if you have more GPUs than jobs; a job has at least one shard."""
    batch_tokens: Annotated[int, Field(ge=1)] = 16_384
    """Tokens in one forward pass; halved when the device runs out of memory."""
    source: VectorSource | None = None
    """Published vectors to use instead of computing them, from the same teacher, prompt and precision. The teacher
    embeds the passages that the data set lacks. `null` computes all."""


def job_folder(number: int) -> str:
    """Name of the folder with the shards of a job of vectors."""
    return f"{number:04d}"


class Shard(NamedTuple):
    """A shard as it is planned, from the quotas alone.

    Attributes:
        lang: its language.
        number: its number within the language.
        start: its first row in the corpus.
        rows: rows of the corpus that it spans; a short corpus has fewer.
        passages: about how many of them are embedded: splits without vectors are left out.
    """

    lang: str
    number: int
    start: int
    rows: int
    passages: int

    @property
    def name(self) -> str:
        """Its place within its job's folder, without the suffix."""
        return f"{self.lang}/{self.number:05d}"


def packed(shards: Iterable[Shard], passages_per_job: int) -> tuple[tuple[Shard, ...], ...]:
    """The shards of each job: consecutive ones, together with at most as many passages as a job may embed."""
    jobs: list[list[Shard]] = []
    room = 0
    for shard in shards:
        if not jobs or shard.passages > room:
            jobs.append([])
            room = passages_per_job
        jobs[-1].append(shard)
        room -= shard.passages
    return tuple(map(tuple, jobs))
