"""Project the teacher's vectors as one student does."""

from pathlib import Path

from job import job, shards_by_language
from langtailor.reduction.projection import project_vectors

with job(snakemake):
    project_vectors(
        Path(snakemake.input.model),
        vectors=shards_by_language(snakemake.params.languages, snakemake.input.vectors),
        out=Path(snakemake.output.vectors),
    )
