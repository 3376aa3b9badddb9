"""Bring the teacher into the run, or another encoder that the students are made of."""

from pathlib import Path

from job import job
from langtailor.config.teacher import TeacherSettings
from langtailor.teacher.fetch import errors_about, fetch_teacher

with job(snakemake):
    params = snakemake.params
    # A prompt that the model does not have is found now, not when the corpus has been made.
    with errors_about(params.section):
        settings, out = TeacherSettings(**params.settings), Path(snakemake.output.model)
        fetch_teacher(settings, out, params.prompts, pruned=params.pruned)
