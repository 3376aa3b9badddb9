"""Bring the teacher into the run."""

from pathlib import Path

from job import job
from langtailor.config.teacher import TeacherSettings
from langtailor.models.folder import ModelInfo
from langtailor.models.prompts import find_prompt
from langtailor.teacher.fetch import fetch_teacher

with job(snakemake):
    params, model = snakemake.params, Path(snakemake.output.model)
    fetch_teacher(TeacherSettings(**params.settings), model)
    # A name that the model does not have shall not be found out when the corpus has been made.
    for key, prompt in params.prompts:
        find_prompt(ModelInfo.read(model), prompt, key)
