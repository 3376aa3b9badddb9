"""Compute and store one shard of the teacher's vectors."""

from pathlib import Path

from job import device, job
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import VectorSettings
from langtailor.vectors.encode import encode_shard

with job(snakemake):
    encode_shard(
        Path(snakemake.input.corpus),
        shard=int(snakemake.wildcards.shard),
        teacher=Path(snakemake.input.teacher),
        teacher_settings=TeacherSettings(**snakemake.params.teacher),
        settings=VectorSettings(**snakemake.params.settings),
        device=device(snakemake),
        out=Path(snakemake.output.vectors),
        cache=Path(snakemake.params.cache),
        splits=snakemake.params.splits,
    )
