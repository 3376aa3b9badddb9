"""Publish one student with its exports."""

from pathlib import Path

from job import job
from langtailor.publish.model import publish_model
from langtailor.sources.hub_upload import Target

with job(snakemake):
    params = snakemake.params
    publish_model(
        Path(snakemake.input.student),
        dict(zip(params.formats, map(Path, snakemake.input.get("exports", [])), strict=True)),
        Target(params.repo, "model", params.private),
        Path(snakemake.output.receipt),
    )
