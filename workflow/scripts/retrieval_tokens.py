"""Tokenize queries and documents of all languages for one student."""

from pathlib import Path

from job import by_language, job
from langtailor.config.queries import QuerySettings
from langtailor.config.teacher import TeacherSettings
from langtailor.distillation.tokens import tokenize_corpora
from langtailor.retrieval.reading import reading_of
from langtailor.retrieval.texts import SIDES

with job(snakemake):
    params, clone = snakemake.params, Path(snakemake.input.clone)
    for side in SIDES:
        tokenize_corpora(
            by_language(params.languages, snakemake.input[side]),
            clone=clone,
            teacher=reading_of(side, clone, TeacherSettings(**params.teacher), QuerySettings(**params.settings)),
            max_length=params.max_length,
            outs=by_language(params.languages, snakemake.output[side]),
        )
