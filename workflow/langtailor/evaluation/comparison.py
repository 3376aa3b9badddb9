"""Teacher, clone and student side by side, and whether a difference is more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from langtailor.config.evaluation import task_kinds
from langtailor.errors import ArtifactError
from langtailor.evaluation.correlation import rowwise_spearman
from langtailor.evaluation.scores import Evaluation, Floats, Score, bootstrap, interval
from langtailor.evaluation.tasks import register_tasks

MODELS = ("teacher", "clone", "student")


@dataclass(frozen=True)
class Difference:
    """Student minus another model on the same items.

    Attributes:
        value: the difference.
        low: lower end of its 95 % paired bootstrap interval.
        high: upper end.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def is_noise(self) -> bool:
        """Whether the interval holds zero, so that the data do not distinguish the models."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


@dataclass(frozen=True)
class Comparison:
    """One figure of one task for the three models.

    Attributes:
        task: the task's name.
        metric: what is measured.
        group: language or direction, where the task has several.
        scores: the figure by model (``teacher``, ``clone``, ``student``).
        to_teacher: student minus teacher; ``None`` where the task keeps no items.
        to_clone: student minus clone; likewise.
        less_is_better: whether the better model has the lower figure.
    """

    task: str
    metric: str
    group: str | None
    scores: Mapping[str, Score]
    to_teacher: Difference | None
    to_clone: Difference | None
    less_is_better: bool = False

    @property
    def retention(self) -> float | None:
        """Student / teacher, in percent; ``None`` where less is better or the teacher's figure is not positive."""
        teacher = self.scores["teacher"].value
        if self.less_is_better or teacher <= 0:
            return None
        return 100 * self.scores["student"].value / teacher


def read_comparisons(root: Path, variant: str, tasks: list[str], *, resamples: int, seed: int) -> list[Comparison]:
    """All figures of all tasks of a variant.

    Args:
        root: the run's ``evaluation`` folder.
        variant: the variant.
        tasks: names of the tasks.
        resamples: bootstrap resamples behind each difference.
        seed: seeds the bootstrap.

    Raises:
        ArtifactError: a result is damaged, or two models were scored on different items.
    """
    register_tasks()
    folders = {"teacher": root / "teacher", "clone": root / variant / "clone", "student": root / variant / "student"}
    comparisons = []
    for task in tasks:
        results = {model: Evaluation.read(folder / f"{task}.json") for model, folder in folders.items()}
        _check_same_items(results, folders["student"] / f"{task}.json")
        comparisons += _compare(results, resamples, seed)
    return comparisons


def _compare(results: Mapping[str, Evaluation], resamples: int, seed: int) -> list[Comparison]:
    student = results["student"]
    less_is_better = task_kinds()[student.kind].less_is_better
    comparisons = []
    for index, score in enumerate(student.scores):
        to_teacher, to_clone = (
            _difference(student, results[other], score, resamples, seed) for other in ("teacher", "clone")
        )
        by_model = {model: results[model].scores[index] for model in MODELS}
        lower = score.metric in less_is_better
        comparisons.append(Comparison(student.task, score.metric, score.group, by_model, to_teacher, to_clone, lower))
    return comparisons


def _difference(one: Evaluation, other: Evaluation, score: Score, resamples: int, seed: int) -> Difference | None:
    key = next(iter(one.items), None) if one.gold else score.group
    if key is None or key not in one.items:
        return None
    ones: Floats = np.asarray(one.items[key], dtype=np.float64)
    others: Floats = np.asarray(other.items[key], dtype=np.float64)
    gold: Floats = np.asarray(one.gold, dtype=np.float64)
    if score.metric == "spearman":

        def statistic(rows: np.ndarray) -> Floats:
            return 100 * (rowwise_spearman(ones[rows], gold[rows]) - rowwise_spearman(others[rows], gold[rows]))
    elif one.gold:
        return None
    else:

        def statistic(rows: np.ndarray) -> Floats:
            return np.asarray((ones - others)[rows].mean(axis=1), dtype=np.float64)

    value = float(statistic(np.arange(len(ones))[None, :])[0])
    return Difference(value, *interval(bootstrap(statistic, len(ones), resamples, seed)))


def _check_same_items(results: Mapping[str, Evaluation], path: Path) -> None:
    shapes = {
        (tuple((s.metric, s.group) for s in r.scores), tuple((g, len(v)) for g, v in r.items.items()), r.gold)
        for r in results.values()
    }
    if len(shapes) != 1:
        raise ArtifactError(path, "was computed on other items than the teacher's or the clone's result")
