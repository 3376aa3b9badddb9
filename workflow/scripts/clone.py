"""Give the model its new vocabulary."""

from pathlib import Path

from job import by_language, device, job
from langtailor.clone.clone import clone_model
from langtailor.config.initialisation import InitialisationSettings
from langtailor.evaluation.agreement_rows import read_row_method

with job(snakemake):
    settings = InitialisationSettings(**snakemake.params.settings)
    trials = []
    if snakemake.input.method:
        method, trials = read_row_method(Path(snakemake.input.method[0]))
        settings = settings.model_copy(update={"method": method})
    clone_model(
        Path(snakemake.input.teacher),
        tokenizer=Path(snakemake.input.tokenizer),
        vocabulary=Path(snakemake.input.vocabulary),
        settings=settings,
        seed=snakemake.params.seed,
        out=Path(snakemake.output.clone),
        corpora=by_language(snakemake.params.languages, snakemake.input.corpora),
        row_trials=trials,
        prompts=snakemake.params.prompts,
        device=device(snakemake),
        trust_remote_code=snakemake.params.trust_remote_code,
    )
