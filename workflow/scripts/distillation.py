"""Train one clone on the stored vectors."""

from pathlib import Path

from job import by_language, job, shards_by_language, train, whole_clone
from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.train import Training

with job(snakemake):
    params = snakemake.params
    train(
        Training(
            clone=Path(snakemake.input.clone),
            tokens=by_language(params.languages, snakemake.input.tokens),
            vectors=shards_by_language(params.languages, snakemake.input.vectors),
            settings=DistillationSettings(**params.settings, **params.non_semantic_settings),
            seed=params.seed,
            checkpoints=Path(params.checkpoints),
            out=Path(snakemake.output.model),
            whole=whole_clone(snakemake.input.whole),
            title=f"{params.run}/{snakemake.wildcards.variant}",
            prompt=params.prompt,
            trust_remote_code=params.trust_remote_code,
        ),
        snakemake,
    )
