"""Publish the teacher's vectors."""

from pathlib import Path

from job import by_language, job, shards_by_language
from langtailor.publish.vectors import Request, publish_vectors
from langtailor.sources.hub_upload import Target

with job(snakemake):
    params = snakemake.params
    corpora = snakemake.input.get("corpora", [])
    request = Request(
        teacher=Path(snakemake.input.teacher),
        model=params.model,
        shards=shards_by_language(params.languages, snakemake.input.vectors),
        corpora=by_language(params.languages, corpora) if corpora else None,
    )
    publish_vectors(request, Target(params.repo, "dataset", params.private), Path(snakemake.output.receipt))
