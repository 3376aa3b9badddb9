"""Give the teacher a new vocabulary."""

from pathlib import Path

from job import by_language, device, job
from langtailor.clone.clone import clone_model
from langtailor.config.initialisation import InitialisationSettings

with job(snakemake):
    clone_model(
        Path(snakemake.input.teacher),
        tokenizer=Path(snakemake.input.tokenizer),
        vocabulary=Path(snakemake.input.vocabulary),
        settings=InitialisationSettings(**snakemake.params.settings),
        seed=snakemake.params.seed,
        out=Path(snakemake.output.clone),
        corpora=by_language(snakemake.params.languages, snakemake.input.corpora),
        prompt=snakemake.params.prompt,
        device=device(snakemake),
        trust_remote_code=snakemake.params.trust_remote_code,
    )
