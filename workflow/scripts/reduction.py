"""Make one clone smaller, or give it vectors in the teacher's space."""

from pathlib import Path

from job import by_language, device, job, shards_by_language, shards_by_side
from langtailor.config.student import StudentSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.reduction.reduce import reduce_clone

with job(snakemake):
    params, inputs = snakemake.params, snakemake.input
    reduce_clone(
        Path(inputs.clone),
        vectors=shards_by_language(params.languages, inputs.vectors)
        | shards_by_side(params.query_languages, inputs.query_vectors),
        settings=StudentSettings(**params.settings),
        out=Path(snakemake.output.model),
        corpora=by_language(params.languages, inputs.corpora) if inputs.corpora else {},
        reading=TeacherSettings(**params.reading),
        device=device(snakemake),
    )
