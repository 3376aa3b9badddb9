"""List the words of the teacher's vocabulary that a language's alphabet can write, in place of text."""

from pathlib import Path

from job import job
from langtailor.config.corpus import VocabularySource
from langtailor.corpus.vocabulary_words import list_words

with job(snakemake):
    list_words(
        VocabularySource(**snakemake.params.source),
        source_lang=snakemake.params.source_lang,
        lang=snakemake.wildcards.lang,
        teacher=Path(snakemake.input.teacher),
        out=Path(snakemake.output.documents),
    )
