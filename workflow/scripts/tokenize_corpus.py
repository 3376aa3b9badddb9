"""Tokenize one language's corpus for one student."""

from pathlib import Path

from job import job
from langtailor.config import TeacherSettings
from langtailor.distillation.tokens import tokenize_corpus

with job(snakemake):
    tokenize_corpus(
        Path(snakemake.input.corpus),
        clone=Path(snakemake.input.clone),
        teacher=TeacherSettings(**snakemake.params.teacher),
        max_length=snakemake.params.max_length,
        out=Path(snakemake.output.tokens),
    )
