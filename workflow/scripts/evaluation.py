"""Run one evaluation task for one model."""

from pathlib import Path

from job import by_language, device, job, shards_by_language
from langtailor.config.evaluation import parse_task
from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.run import run_task
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks import register_tasks

with job(snakemake):
    params = snakemake.params
    register_tasks()
    languages = list(params.languages)
    inputs = Inputs(
        corpora=by_language(languages, snakemake.input.get("corpora", [])),
        vectors=shards_by_language(languages, snakemake.input.get("vectors", [])),
    )
    evaluator = Evaluator(
        Path(snakemake.input.model),
        teacher=TeacherSettings(**params.teacher),
        resamples=params.bootstrap,
        seed=params.seed,
        device=device(snakemake),
    )
    task = parse_task(params.task)
    run_task(snakemake.wildcards.task, task, evaluator, inputs, out=Path(snakemake.output.scores))
