"""Tokenize the corpora of all languages for one student: one process, as loading the libraries takes longest."""

from pathlib import Path

from job import by_language, job
from langtailor.config.teacher import TeacherSettings
from langtailor.distillation.tokens import tokenize_corpus

with job(snakemake):
    params = snakemake.params
    corpora = by_language(params.languages, snakemake.input.corpora)
    outputs = by_language(params.languages, snakemake.output.tokens)
    for lang, corpus in corpora.items():
        tokenize_corpus(
            corpus,
            clone=Path(snakemake.input.clone),
            teacher=TeacherSettings(**params.teacher),
            max_length=params.max_length,
            out=outputs[lang],
        )
