"""Bring the published vectors of one language into the run."""

from pathlib import Path

from job import job
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import VectorSource
from langtailor.vectors.published import fetch_published

with job(snakemake):
    params, lang = snakemake.params, snakemake.wildcards.lang
    fetch_published(
        VectorSource(**params.source),
        lang,
        teacher=Path(snakemake.input.teacher),
        settings=TeacherSettings(**params.teacher).for_language(lang),
        out=Path(snakemake.output.vectors),
        work=Path(params.work),
    )
