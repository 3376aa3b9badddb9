"""Run the tasks of one model in one process, which loads it once.

A task that is added or changed has Snakemake delete the model's scores and run its job again. Each task's result
therefore has a copy in the *score cache*, a folder that no rule declares, and is taken from there when the model, the task,
what it reads and the code are the same.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from langtailor.config.evaluation import Task
from langtailor.errors import ArtifactError, DiskFullError, LangtailorError, SourceError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Evaluation
from langtailor.evaluation.task import EvaluationTask, Inputs
from langtailor.evaluation.text_vectors import verify_text_vectors
from langtailor.models.libraries import COMPUTE_LIBRARIES, versions_of
from langtailor.storage.artifacts import Manifest, atomic_directory
from langtailor.storage.atomic import atomic_file
from langtailor.storage.cache import CacheEntry
from langtailor.storage.code_digest import module_digest
from langtailor.storage.digests import sha256_file

_LOG = logging.getLogger("langtailor")
_KIND = "evaluations"
#: How a file of the cache is checked, by its suffix.
_CHECKS: Mapping[str, Callable[[Path], object]] = {".json": Evaluation.read, ".parquet": verify_text_vectors}
#: Libraries whose versions may change a score.
_LIBRARIES = (*COMPUTE_LIBRARIES, "tokenizers", "numpy", "scipy")


def evaluate_model(
    tasks: Mapping[str, EvaluationTask], evaluator: Evaluator, inputs: Inputs, out: Path, cache: Path
) -> None:
    """Run the tasks of one model. One that fails keeps none of the others from being run.

    Args:
        tasks: the tasks by name.
        evaluator: the model.
        inputs: what the tasks need.
        out: the folder (kind ``evaluations``) with ``{task}.json`` of the kind ``evaluation``; the teacher's also has
            ``{task}.parquet``, its vectors of the task's own texts, of tasks that ask for them.
        cache: the model's score cache, a folder.

    Raises:
        LangtailorError: a file cannot be used, there is nothing to evaluate on, or a setting does not fit the model.
    """
    failed = reused = 0
    with atomic_directory(out, Manifest(_KIND, inputs={"model": evaluator.digest})) as folder:
        for name, task in tasks.items():
            entries = _cached(cache, name, task, evaluator, inputs)
            try:
                if _reuse(entries, folder):
                    _LOG.info("task %s: taken from the score cache", name)
                    reused += 1
                else:
                    run_task(name, task, evaluator, inputs, folder / f"{name}.json")
                    _store(entries, folder)
            except DiskFullError:
                raise
            except LangtailorError as error:
                _LOG.error("error: task %s: %s", name, error)
                failed += 1
        if failed:
            raise LangtailorError(
                f"{failed} of {len(tasks)} tasks failed; the next run reuses the results of the others"
            )
    _LOG.info("%d tasks, %d of them from the score cache", len(tasks), reused)


def run_task(name: str, task: EvaluationTask, evaluator: Evaluator, inputs: Inputs, out: Path) -> Evaluation:
    """Run a task, log its main figure and write the result.

    Args:
        name: the task's name in the configuration.
        task: the task.
        evaluator: the model.
        inputs: what the task needs.
        out: the result (kind ``evaluation``); the teacher's vectors are written next to it if the task needs them.

    Raises:
        SourceError: a file cannot be used, or there is nothing to evaluate on.
        ConfigError: a setting does not fit the model.
    """
    _LOG.info("task %s (%s)", name, task.kind)
    outcome = task.evaluate(evaluator, inputs.of(name, task))
    if not outcome.scores:
        raise SourceError("the corpus has no test passage to evaluate on")
    result = Evaluation(
        name,
        task.kind,
        evaluator.digest,
        outcome.scores,
        outcome.items,
        outcome.gold,
        versions_of(_LIBRARIES),
        outcome.neighbourhood,
    )
    result.write(out)
    if outcome.vectors is not None:
        outcome.vectors.write(text_vectors_file(out.parent, name))
    _LOG.info("%s: %s %.2f over %d items", name, result.main.metric, result.main.value, result.main.n)
    return result


def teacher_vectors(tasks: Mapping[str, Task], languages: Sequence[str], scores: str | None) -> dict[str, Path]:
    """Files with the teacher's vectors by task, for the tasks that ask for them.

    Args:
        tasks: the tasks by name.
        languages: the languages whose corpus the tasks read.
        scores: folder of the teacher's scores; ``None`` where no task asks.
    """
    asking = [name for name, task in tasks.items() if task.needs(languages).teacher]
    return {name: text_vectors_file(Path(str(scores)), name) for name in asking}


def text_vectors_file(folder: Path, name: str) -> Path:
    """Where a folder of the teacher's scores has its vectors of a task's own texts."""
    return folder / f"{name}.parquet"


def _cached(
    cache: Path, name: str, task: EvaluationTask, evaluator: Evaluator, inputs: Inputs
) -> dict[str, CacheEntry]:
    """The cache's entries for this task, this model, what the task reads and this code, by the files that they hold."""
    needs = task.needs(list(inputs.corpora))
    files = [Path(file) for file in needs.files]
    made_from = [
        [name, task.model_dump(mode="json"), evaluator.made_by],
        inputs.of(name, task).digests(),
        {str(file): sha256_file(file) for file in files if file.is_file()},
        [module_digest(module) for module in ("evaluation.run", task.module())],
        versions_of(_LIBRARIES),
    ]
    left = [f"{name}.json"]
    if needs.teacher and inputs.teacher is None:
        left.append(text_vectors_file(cache, name).name)
    return {file: CacheEntry.of(cache / file, made_from) for file in left}


def _reuse(entries: Mapping[str, CacheEntry], folder: Path) -> bool:
    """Copy the entries to their places, if all are there and intact."""
    for entry in entries.values():
        try:
            _CHECKS[entry.path.suffix](entry.path)
        except ArtifactError:
            return False
    for name, entry in entries.items():
        shutil.copyfile(entry.path, folder / name)
    return True


def _store(entries: Mapping[str, CacheEntry], folder: Path) -> None:
    """Enter what a task has left, in place of its predecessors."""
    for name, entry in entries.items():
        entry.make_room()
        with atomic_file(entry.path) as temporary:
            shutil.copyfile(folder / name, temporary)
