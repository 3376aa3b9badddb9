"""Tokenize the corpora of all languages for one student: one process, as loading the model takes longest."""

from pathlib import Path

from job import by_language, job
from langtailor.config.teacher import TeacherSettings
from langtailor.distillation.tokens import tokenize_corpora

with job(snakemake):
    params = snakemake.params
    tokenize_corpora(
        by_language(params.languages, snakemake.input.corpora),
        clone=Path(snakemake.input.clone),
        teacher=TeacherSettings(**params.teacher),
        max_length=params.max_length,
        outs=by_language(params.languages, snakemake.output.tokens),
    )
