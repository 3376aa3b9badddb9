"""Choose the share of new tokens of one variant by what they do to the vectors."""

from pathlib import Path

from job import by_language, device, job, shards_by_language
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vocabulary import VocabularySettings
from langtailor.evaluation.agreement_share import ShareTrials, choose_graft_share
from langtailor.vocabulary.donor import load_donor

with job(snakemake):
    params = snakemake.params
    settings = VocabularySettings(**params.settings)
    out = Path(snakemake.output.share)
    trials = ShareTrials(
        Path(snakemake.input.teacher),
        counts=by_language(params.languages, snakemake.input.counts),
        corpora=by_language(params.languages, snakemake.input.corpora),
        vectors=shards_by_language(params.languages, snakemake.input.vectors),
        vocabulary=settings,
        initialisation=InitialisationSettings(**params.initialisation),
        reading=TeacherSettings(**params.teacher),
        weights=params.weights,
        targets=params.targets,
        prompts=params.prompts,
        seed=params.seed,
        device=device(snakemake),
        out=out,
        donor=load_donor(settings.graft, Path(params.work)),
    )
    choose_graft_share(trials, settings.graft.share, settings.graft.tolerance, out)
