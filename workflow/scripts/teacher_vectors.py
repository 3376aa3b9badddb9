"""Compute and store one shard of the teacher's vectors."""

from pathlib import Path

from job import device, job
from langtailor.config import TeacherSettings, VectorSettings
from langtailor.vectors import encode_shard

with job(snakemake):
    encode_shard(
        Path(snakemake.input.corpus),
        shard=int(snakemake.wildcards.shard),
        teacher=Path(snakemake.input.teacher),
        teacher_settings=TeacherSettings(**snakemake.params.teacher),
        settings=VectorSettings(**snakemake.params.settings),
        device=device(snakemake),
        out=Path(snakemake.output.vectors),
        kept=Path(snakemake.params.kept),
    )
