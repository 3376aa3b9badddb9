"""Choose the method of one variant's new rows by what it does to the vectors."""

from pathlib import Path

from job import by_language, device, job, shards_by_language
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.agreement_rows import RowMethodTrials, choose_row_method

with job(snakemake):
    params, out = snakemake.params, Path(snakemake.output.method)
    trials = RowMethodTrials(
        Path(snakemake.input.teacher),
        tokenizer=Path(snakemake.input.tokenizer),
        vocabulary=Path(snakemake.input.vocabulary),
        corpora=by_language(params.languages, snakemake.input.corpora),
        vectors=shards_by_language(params.languages, snakemake.input.vectors),
        reading=TeacherSettings(**params.teacher),
        targets=params.targets,
        seed=params.seed,
        device=device(snakemake),
        out=out,
    )
    choose_row_method(trials, InitialisationSettings(**params.settings), out)
