"""Run one evaluation task for one model."""

from pathlib import Path

from job import by_language, device, job, shards_by_language
from langtailor.config.evaluation import parse_task
from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.run import Evaluator, evaluate

with job(snakemake):
    params = snakemake.params
    languages = list(params.languages)
    corpora = by_language(languages, snakemake.input.get("corpora", []))
    vectors = shards_by_language(languages, snakemake.input.get("vectors", []))
    evaluator = Evaluator(
        Path(snakemake.input.model),
        teacher=TeacherSettings(**params.teacher),
        resamples=params.bootstrap,
        seed=params.seed,
        device=device(snakemake),
    )
    evaluate(
        snakemake.wildcards.task,
        parse_task(params.task),
        evaluator,
        corpora,
        vectors,
        out=Path(snakemake.output.scores),
    )
