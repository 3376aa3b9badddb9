"""Bring the teacher into the run."""

from pathlib import Path

from job import job
from langtailor.config.teacher import TeacherSettings
from langtailor.teacher.fetch import fetch_teacher

with job(snakemake):
    fetch_teacher(TeacherSettings(**snakemake.params.settings), Path(snakemake.output.model))
