"""Make one clone smaller, or give it vectors in the teacher's space."""

from pathlib import Path

from job import by_language, device, job, shards_by_language
from langtailor.config.student import StudentSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.reduction.reduce import reduce_clone

with job(snakemake):
    params = snakemake.params
    reduce_clone(
        Path(snakemake.input.clone),
        vectors=shards_by_language(params.languages, snakemake.input.vectors),
        settings=StudentSettings(**params.settings),
        out=Path(snakemake.output.model),
        corpora=by_language(params.languages, snakemake.input.corpora) if snakemake.input.corpora else {},
        reading=TeacherSettings(**params.reading),
        device=device(snakemake),
    )
