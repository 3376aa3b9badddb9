"""Bring the teacher into the run, or another encoder that the students are made of."""

from pathlib import Path

from job import job
from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError
from langtailor.teacher.fetch import fetch_teacher

with job(snakemake):
    params = snakemake.params
    # A prompt that the model does not have is found now, not when the corpus has been made.
    try:
        fetch_teacher(TeacherSettings(**params.settings), Path(snakemake.output.model), params.prompts)
    except ConfigError as error:
        raise error.about(params.section) if error.key.startswith("teacher.") else error from None
