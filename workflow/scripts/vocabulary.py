"""Choose the tokens of one variant."""

from pathlib import Path

from job import by_language, job
from langtailor.config.vocabulary import VocabularySettings
from langtailor.vocabulary.donor import load_donor
from langtailor.vocabulary.select import select_vocabulary

with job(snakemake):
    params = snakemake.params
    settings = VocabularySettings(**params.settings)
    select_vocabulary(
        Path(snakemake.input.teacher),
        counts=by_language(params.languages, snakemake.input.counts),
        corpora=by_language(params.languages, snakemake.input.corpora),
        donor=load_donor(settings.graft, Path(params.work)),
        settings=settings,
        weights=params.weights,
        targets=params.targets,
        prompts=params.prompts,
        out=Path(snakemake.output.vocabulary),
        chosen_share=Path(snakemake.input.share[0]) if snakemake.input.share else None,
        may_fall_short=params.may_fall_short,
    )
