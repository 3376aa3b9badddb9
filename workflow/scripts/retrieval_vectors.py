"""Embed queries or documents of all languages with the teacher."""

from pathlib import Path

from job import by_language, device, job
from langtailor.config.queries import QuerySettings
from langtailor.config.teacher import TeacherSettings
from langtailor.retrieval.reading import reading_of, text_shards
from langtailor.vectors.encode import encode_shards

with job(snakemake):
    params, teacher = snakemake.params, Path(snakemake.input.teacher)
    texts = by_language(params.languages, snakemake.input.texts)
    settings = QuerySettings(**params.settings)
    encode_shards(
        text_shards(texts, params.shard_passages),
        corpora=texts,
        teacher=teacher,
        teacher_settings=reading_of(snakemake.wildcards.side, teacher, TeacherSettings(**params.teacher), settings),
        batch_tokens=params.batch_tokens,
        device=device(snakemake),
        out=Path(snakemake.output.vectors),
        cache=Path(params.cache),
    )
