"""Sample the documents of one language from its source."""

from pathlib import Path

from job import job
from langtailor.config.corpus import Quotas, parse_source
from langtailor.corpus.documents import documents_wanted, fetch_documents

with job(snakemake):
    source = parse_source(snakemake.params.source)
    fetch_documents(
        source,
        source_lang=snakemake.params.source_lang,
        lang=snakemake.wildcards.lang,
        wanted=documents_wanted(Quotas(**snakemake.params.quotas), source),
        seed=snakemake.params.seed,
        out=Path(snakemake.output.documents),
        work=Path(snakemake.params.work),
    )
