"""Make one clone smaller."""

from pathlib import Path

from job import job, shards_by_language
from langtailor.config.student import StudentSettings
from langtailor.reduction.reduce import reduce_clone

with job(snakemake):
    params = snakemake.params
    reduce_clone(
        Path(snakemake.input.clone),
        vectors=shards_by_language(params.languages, snakemake.input.vectors),
        settings=StudentSettings(**params.settings),
        out=Path(snakemake.output.model),
        trust_remote_code=params.trust_remote_code,
    )
