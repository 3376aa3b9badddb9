"""Run the evaluation tasks of one model."""

from pathlib import Path

from job import by_language, device, job, shards_by_language
from langtailor.config.evaluation import parse_task
from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.run import evaluate_model, teacher_vectors
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks import register_tasks

with job(snakemake):
    params = snakemake.params
    register_tasks()
    languages = list(params.languages)
    tasks = {name: parse_task(task) for name, task in params.tasks.items()}
    evaluator = Evaluator(
        Path(snakemake.input.model),
        teacher=TeacherSettings(**params.teacher),
        resamples=params.bootstrap,
        seed=params.seed,
        device=device(snakemake),
    )
    evaluate_model(
        tasks,
        evaluator,
        Inputs(
            by_language(languages, snakemake.input.get("corpora", [])),
            shards_by_language(languages, snakemake.input.get("vectors", [])),
            teacher_vectors(tasks, languages, snakemake.input.get("teacher")) if snakemake.wildcards else None,
        ),
        out=Path(snakemake.output.scores),
        cache=Path(params.cache, *(snakemake.wildcards or ["teacher"])),
    )
