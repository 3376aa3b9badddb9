"""Run one task for one model."""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path

from langtailor.errors import SourceError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Evaluation
from langtailor.evaluation.task import EvaluationTask, Inputs
from langtailor.storage.artifacts import directory_digest

_LOG = logging.getLogger("langtailor")
_VERSIONS = ("numpy", "scipy", "sentence-transformers", "tokenizers", "torch", "transformers")


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
    outcome = task.evaluate(evaluator, inputs)
    if not outcome.scores:
        raise SourceError(f"evaluation task {name}: the corpus has no test passage to evaluate on")
    versions = {package: version(package) for package in _VERSIONS}
    model = directory_digest(evaluator.folder)
    result = Evaluation(name, task.kind, model, outcome.scores, outcome.items, outcome.gold, versions)
    result.write(out)
    _LOG.info("%s: %s %.2f over %d items", name, result.main.metric, result.main.value, result.main.n)
    return result
