"""Any task of the Massive Text Embedding Benchmark (Muennighoff et al. 2023, arXiv 2210.07316), by the ``mteb`` package."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from langtailor.config.base import Distinct
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.errors import ConfigError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Score
from langtailor.evaluation.task import EvaluationTask, Inputs, TaskResult

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@task_kind
class MtebTask(EvaluationTask):
    """A task of the Massive Text Embedding Benchmark, by name (needs the package `mteb`)."""

    of_vectors: ClassVar[bool] = False
    kind: Literal["mteb"]
    task: str
    """Its name in the package."""
    languages: Distinct[str] = ()
    """Languages (ISO 639-3) of a multilingual task; an empty list uses all."""

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        return TaskNeeds()

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        return TaskResult(mteb_scores(evaluator.model, self))


def mteb_scores(model: SentenceTransformer, task: MtebTask) -> tuple[Score, ...]:
    """The task's main score, over all its languages and for each, times 100.

    The package takes its data through ``datasets``: offline where they are in its cache and ``HF_HUB_OFFLINE`` is set.
    Prompts are those that the model's folder names for the task.

    Raises:
        ConfigError: the package is not installed, or knows no such task.
    """
    try:
        import mteb
    except ImportError as error:
        raise ConfigError(
            "evaluation.tasks", "a task of the kind `mteb` needs the package mteb: pip install 'mteb>=2.20,<3'"
        ) from error
    try:
        chosen = mteb.get_task(task.task, languages=list(task.languages) or None)
    except KeyError as error:
        close = difflib.get_close_matches(task.task, [t.metadata.name for t in mteb.get_tasks()], n=3)
        hint = f"; close to it are {', '.join(close)}" if close else ""
        raise ConfigError("evaluation.tasks", f"the package mteb has no task {task.task!r}{hint}") from error
    return scores_of(mteb, model, chosen)


def scores_of(mteb: Any, model: SentenceTransformer, task: Any) -> tuple[Score, ...]:
    """Run one of the package's tasks."""
    (result,) = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results
    metric = f"{task.metadata.main_score} (MTEB)"
    parts = [
        (f"{part['hf_subset']}, {split}", part["main_score"])
        for split, subsets in result.scores.items()
        for part in subsets
    ]
    whole = Score(metric, round(100 * float(result.get_score()), 4), None, None, len(parts))
    if len(parts) == 1:
        return (whole,)
    return whole, *(Score(metric, round(100 * float(value), 4), None, None, 1, name) for name, value in parts)
