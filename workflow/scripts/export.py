"""Export one student to one format, and certify it."""

from pathlib import Path

from job import by_language, job, shards_by_language
from langtailor.config.evaluation import parse_task
from langtailor.config.export import Bounds
from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.run import teacher_vectors
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks import register_tasks
from langtailor.export.formats import register_formats
from langtailor.export.run import Request, export_student

with job(snakemake):
    params = snakemake.params
    register_tasks()
    register_formats()
    evaluated = list(params.evaluated)
    tasks = {name: parse_task(task) for name, task in params.tasks.items()}
    request = Request(
        student=Path(snakemake.input.student),
        format=snakemake.wildcards.format,
        bounds=Bounds(**params.bounds),
        teacher=TeacherSettings(**params.teacher),
        corpora=by_language(params.languages, snakemake.input.texts),
        tasks=tasks,
        inputs=Inputs(
            by_language(evaluated, snakemake.input.get("corpora", [])),
            shards_by_language(evaluated, snakemake.input.get("vectors", [])),
            teacher_vectors(tasks, evaluated, snakemake.input.get("teacher")),
        ),
        scores=Path(snakemake.input.scores),
        resamples=params.bootstrap,
        seed=params.seed,
        threads=snakemake.threads,
    )
    export_student(request, Path(snakemake.output.folder))
