"""Compute and store some shards of the teacher's vectors."""

from pathlib import Path

from job import by_language, device, job
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import Shard
from langtailor.vectors.encode import encode_shards

with job(snakemake):
    params = snakemake.params
    published = snakemake.input.get("published", [])
    encode_shards(
        [Shard(*shard) for shard in params.shards],
        corpora=by_language(params.languages, snakemake.input.corpora),
        teacher=Path(snakemake.input.teacher),
        teacher_settings=TeacherSettings(**params.teacher),
        batch_tokens=params.batch_tokens,
        device=device(snakemake),
        out=Path(snakemake.output.vectors),
        cache=Path(params.cache),
        splits=params.splits,
        published=by_language(params.languages, published) if published else None,
    )
