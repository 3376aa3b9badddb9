"""Clean, cut, deduplicate and split the documents of one language."""

from pathlib import Path

from job import job
from langtailor.config.corpus import CleaningSettings, Quotas, ShortSettings
from langtailor.corpus.build import build_corpus

with job(snakemake):
    build_corpus(
        Path(snakemake.input.documents),
        teacher=Path(snakemake.input.teacher),
        lang=snakemake.wildcards.lang,
        chunk_tokens=snakemake.params.chunk_tokens,
        cleaning=CleaningSettings(**snakemake.params.cleaning),
        quotas=Quotas(**snakemake.params.quotas),
        seed=snakemake.params.seed,
        out=Path(snakemake.output.corpus),
        short=ShortSettings(**snakemake.params.short),
    )
