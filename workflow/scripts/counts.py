"""Count the tokens of all languages: one process, as loading the tokenizer takes longest."""

from pathlib import Path

from job import by_language, job
from langtailor.counts.count import count_corpora

with job(snakemake):
    languages = snakemake.params.languages
    count_corpora(
        by_language(languages, snakemake.input.corpora),
        teacher=Path(snakemake.input.teacher),
        outs=by_language(languages, snakemake.output.counts),
    )
