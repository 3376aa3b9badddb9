"""Train one student for retrieval."""

from pathlib import Path

from job import by_language, job, shards_by_language, train, whole_clone
from langtailor.config.retrieval import RetrievalSettings
from langtailor.distillation.data import CandidateFile
from langtailor.distillation.train import Training
from langtailor.retrieval.texts import SIDES

with job(snakemake):
    params, inputs = snakemake.params, snakemake.input
    tokens, vectors, candidates = {}, {}, {}
    # To the training, each side of a language is what a language is to distillation.
    for side, other, folder in zip(SIDES, reversed(SIDES), inputs.vectors, strict=True):
        for lang, file in by_language(params.languages, inputs[side]).items():
            tokens[f"{lang}-{side}"] = file
        for lang, shards in shards_by_language(params.languages, [folder]).items():
            vectors[f"{lang}-{side}"] = shards
        for lang, file in by_language(params.languages, inputs[f"{side}_candidates"]).items():
            candidates[f"{lang}-{side}"] = CandidateFile(file, among=f"{lang}-{other}")
    train(
        Training(
            clone=Path(inputs.model),
            tokens=tokens,
            vectors=vectors,
            settings=RetrievalSettings(**params.settings, **params.non_semantic_settings),
            seed=params.seed,
            checkpoints=Path(params.checkpoints),
            out=Path(snakemake.output.model),
            whole=whole_clone(inputs.whole),
            candidates=candidates,
            title=f"{params.run}/{snakemake.wildcards.variant}, retrieval",
            trust_remote_code=params.trust_remote_code,
        ),
        snakemake,
    )
