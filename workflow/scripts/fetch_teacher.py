"""Bring the teacher into the run."""

from pathlib import Path

from job import job
from langtailor.config import TeacherSettings
from langtailor.surgery.registry import load_family
from langtailor.teacher import fetch_teacher

with job(snakemake):
    model = Path(snakemake.output.model)
    fetch_teacher(TeacherSettings(**snakemake.params.settings), model)
    load_family(model)  # what surgery would refuse, once the corpus is there, is refused now
