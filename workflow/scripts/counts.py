"""Count the teacher's tokens in one language."""

from pathlib import Path

from job import job
from langtailor.counts.count import count_tokens

with job(snakemake):
    count_tokens(Path(snakemake.input.corpus), Path(snakemake.input.teacher), Path(snakemake.output.counts))
