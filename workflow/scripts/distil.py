"""Train one clone on the stored vectors."""

from pathlib import Path

from job import by_language, device, job
from langtailor.config import DistillationSettings
from langtailor.distillation.train import distil

with job(snakemake):
    params = snakemake.params
    distil(
        Path(snakemake.input.clone),
        tokens=by_language(params.languages, snakemake.input.tokens),
        vectors={
            split: {
                lang: [Path(path) for path in snakemake.input[split] if Path(path).parent.name == lang]
                for lang in params.languages
            }
            for split in ("train", "validation")
        },
        settings=DistillationSettings(**params.settings),
        seed=params.seed,
        device=device(snakemake),
        checkpoints=Path(params.checkpoints),
        out=Path(snakemake.output.model),
        trust_remote_code=params.trust_remote_code,
    )
