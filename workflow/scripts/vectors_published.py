"""Bring the published vectors of one language into the run."""

from pathlib import Path

from job import job
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import VectorSource
from langtailor.vectors.published import fetch_published

with job(snakemake):
    params = snakemake.params
    fetch_published(
        VectorSource(**params.source),
        snakemake.wildcards.lang,
        teacher=Path(snakemake.input.teacher),
        settings=TeacherSettings(**params.teacher),
        out=Path(snakemake.output.vectors),
        work=Path(params.work),
    )
