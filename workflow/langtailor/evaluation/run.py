"""Run the tasks of one model in one process, which loads it once.

A task that is added or changed has Snakemake delete the model's scores and run its job again. Each task's result
therefore has a copy in the *score cache*, a folder that no rule declares, and is taken from there when the model, the task,
what it reads and the code are the same.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from langtailor.errors import ArtifactError, DiskFullError, LangtailorError, SourceError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Evaluation
from langtailor.evaluation.task import EvaluationTask, Inputs
from langtailor.storage.artifacts import Manifest, atomic_directory
from langtailor.storage.atomic import atomic_file
from langtailor.storage.cache import CacheEntry
from langtailor.storage.code_digest import module_digest
from langtailor.storage.digests import sha256_file

_LOG = logging.getLogger("langtailor")
_KIND = "evaluations"
_VERSIONS = ("numpy", "scipy", "sentence-transformers", "tokenizers", "torch", "transformers")


def evaluate_model(
    tasks: Mapping[str, EvaluationTask], evaluator: Evaluator, inputs: Inputs, out: Path, cache: Path
) -> None:
    """Run the tasks of one model. One that fails keeps none of the others from being run.

    Args:
        tasks: the tasks by name.
        evaluator: the model.
        inputs: what the tasks need.
        out: the folder (kind ``evaluations``) with ``{task}.json`` of the kind ``evaluation``.
        cache: the model's score cache, a folder.

    Raises:
        LangtailorError: a file cannot be used, there is nothing to evaluate on, or a setting does not fit the model.
    """
    failed = reused = 0
    with atomic_directory(out, Manifest(_KIND, inputs={"model": evaluator.digest})) as folder:
        for name, task in tasks.items():
            entry = _cached(cache, name, task, evaluator, inputs)
            file = folder / f"{name}.json"
            try:
                if _reuse(entry, file):
                    _LOG.info("task %s: taken from the score cache", name)
                    reused += 1
                else:
                    run_task(name, task, evaluator, inputs, file)
                    _store(entry, file)
            except DiskFullError:
                raise
            except LangtailorError as error:
                _LOG.error("error: task %s: %s", name, error)
                failed += 1
        if failed:
            raise LangtailorError(
                f"{failed} of {len(tasks)} tasks failed; the next run takes over what the others gave"
            )
    _LOG.info("%d tasks, %d of them from the score cache", len(tasks), reused)


def run_task(name: str, task: EvaluationTask, evaluator: Evaluator, inputs: Inputs, out: Path) -> Evaluation:
    """Run a task, log its main figure and write the result.

    Args:
        name: the task's name in the configuration.
        task: the task.
        evaluator: the model.
        inputs: what the task needs.
        out: the result (kind ``evaluation``).

    Raises:
        SourceError: a file cannot be used, or there is nothing to evaluate on.
        ConfigError: a setting does not fit the model.
    """
    _LOG.info("task %s (%s)", name, task.kind)
    outcome = task.evaluate(evaluator, inputs.of(task))
    if not outcome.scores:
        raise SourceError("the corpus has no test passage to evaluate on")
    result = Evaluation(name, task.kind, evaluator.digest, outcome.scores, outcome.items, outcome.gold, _versions())
    result.write(out)
    _LOG.info("%s: %s %.2f over %d items", name, result.main.metric, result.main.value, result.main.n)
    return result


def _cached(cache: Path, name: str, task: EvaluationTask, evaluator: Evaluator, inputs: Inputs) -> CacheEntry:
    """The cache's entry for this task, this model, what the task reads and this code."""
    files = [Path(file) for file in task.needs(list(inputs.corpora)).files]
    made_from = [
        [name, task.model_dump(mode="json"), evaluator.made_by],
        inputs.of(task).digests(),
        {str(file): sha256_file(file) for file in files if file.is_file()},
        [module_digest(module) for module in ("evaluation.run", task.module())],
        _versions(),
    ]
    return CacheEntry.of(cache / f"{name}.json", made_from)


def _reuse(entry: CacheEntry, out: Path) -> bool:
    """Copy the entry to its place, if there is an intact one."""
    try:
        Evaluation.read(entry.path)
    except ArtifactError:
        return False
    shutil.copyfile(entry.path, out)
    return True


def _store(entry: CacheEntry, scores: Path) -> None:
    """Enter new scores, in place of their predecessors."""
    entry.make_room()
    with atomic_file(entry.path) as temporary:
        shutil.copyfile(scores, temporary)


def _versions() -> dict[str, str]:
    return {package: version(package) for package in _VERSIONS}
