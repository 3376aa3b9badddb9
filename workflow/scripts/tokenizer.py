"""Write the tokenizer of one variant and certify it."""

from pathlib import Path

from job import by_language, job
from langtailor.tokenizer.write import write_tokenizer

with job(snakemake):
    write_tokenizer(
        Path(snakemake.input.teacher),
        vocabulary=Path(snakemake.input.vocabulary),
        corpora=by_language(snakemake.params.languages, snakemake.input.corpora),
        prompts=snakemake.params.prompts,
        trust_remote_code=snakemake.params.trust_remote_code,
        targets=snakemake.params.targets,
        out=Path(snakemake.output.tokenizer),
    )
