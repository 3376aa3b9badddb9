"""Teacher and student side by side, with the steps between them, and whether a difference is more than noise.

The steps are ``teacher``, ``base`` (another encoder, of which the student is made), ``cut`` (with fewer tokens), ``grafted``
(with new ones), ``reduced`` (with fewer layers or dimensions) or ``mapped`` (another encoder with vectors in the teacher's
space), ``trained`` and ``retrieval`` (then trained for retrieval). A variant has those that its settings ask for; the last one
is the student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from langtailor.config.evaluation import task_kinds
from langtailor.config.variants import STEPS
from langtailor.errors import ArtifactError
from langtailor.evaluation.scores import Evaluation, Floats, Score, bootstrap, interval
from langtailor.evaluation.tasks import register_tasks
from langtailor.models.correlation import rowwise_spearman

#: Steps whose vectors are those of another encoder where the student is made of one.
_OTHER_ENCODER = ("base", "cut", "grafted")


@dataclass(frozen=True)
class Difference:
    """One model minus another on the same items.

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
    """One figure of one task for the steps of a variant.

    Attributes:
        task: the task's name.
        metric: what is measured.
        group: language or direction, where the task has several.
        scores: the figure by step, in their order; of another encoder's steps before ``mapped``, only where the task does not
            compare vectors with the teacher's.
        to_teacher: by later step, this minus the teacher; nothing where the task keeps no items.
        to_cut: by step after it, this minus ``cut``; likewise.
        less_is_better: whether the better model has the lower figure.
    """

    task: str
    metric: str
    group: str | None
    scores: Mapping[str, Score]
    to_teacher: Mapping[str, Difference]
    to_cut: Mapping[str, Difference]
    less_is_better: bool = False

    @property
    def student(self) -> str:
        """The step that is the student."""
        return list(self.scores)[-1]

    @property
    def harmful(self) -> list[str]:
        """The steps after cutting that are worse than cutting alone by more than noise.

        Up to the one that takes layers or dimensions away: what that costs is its price and no harm.
        """
        steps = list(takewhile(lambda step: step != "reduced", self.to_cut))
        worse = [step for step in steps if (self.to_cut[step].value > 0) == self.less_is_better]
        return [step for step in worse if not self.to_cut[step].is_noise]

    @property
    def retention(self) -> float | None:
        """Student / teacher, in percent; ``None`` where less is better or the teacher's figure is not positive."""
        teacher = self.scores["teacher"].value
        if self.less_is_better or teacher <= 0:
            return None
        return 100 * self.scores[self.student].value / teacher


def harm(comparisons: Sequence[Comparison]) -> list[str]:
    """A sentence for each figure in which grafting or training made a model worse than cutting alone."""
    return [
        f"{STEPS[step]} is worse than cutting alone on {row.task}"
        f"{f' ({row.group})' if row.group else ''}: {row.scores[step].value:.4g} after {row.scores['cut'].value:.4g} "
        f"({row.to_cut[step].value:+.3g}, 95 % interval {row.to_cut[step].low:+.3g} to {row.to_cut[step].high:+.3g})"
        for row in comparisons
        for step in row.harmful
    ]


def main_rows(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The main figure of each task: its first."""
    first: dict[str, Comparison] = {}
    for row in comparisons:
        first.setdefault(row.task, row)
    return list(first.values())


def read_comparisons(
    root: Path, models: Mapping[str, str], tasks: Sequence[str], *, resamples: int, seed: int
) -> list[Comparison]:
    """All figures of all tasks of a variant.

    Args:
        root: the run's ``evaluation`` folder.
        models: folder of the scores below it by step (:meth:`langtailor.config.run.Settings.compared`).
        tasks: names of the tasks.
        resamples: bootstrap resamples for each difference.
        seed: seeds the bootstrap.

    Raises:
        ArtifactError: a result is damaged, or two models were scored on different items.
    """
    register_tasks()
    comparisons = []
    for task in tasks:
        files = {step: root / folder / f"{task}.json" for step, folder in models.items()}
        if "base" in models and not files["base"].is_file():
            files = {step: file for step, file in files.items() if step not in _OTHER_ENCODER}
        results = {step: Evaluation.read(file) for step, file in files.items()}
        _check_same_items(results, list(files.values())[-1])
        comparisons += _compare(results, resamples, seed)
    return comparisons


def _compare(results: Mapping[str, Evaluation], resamples: int, seed: int) -> list[Comparison]:
    teacher = results["teacher"]
    less_is_better = task_kinds()[teacher.kind].less_is_better
    comparisons = []
    for index, score in enumerate(teacher.scores):
        to_teacher, to_cut = (_differences(results, base, score, resamples, seed) for base in ("teacher", "cut"))
        by_step = {step: result.scores[index] for step, result in results.items()}
        lower = score.metric in less_is_better
        comparisons.append(Comparison(teacher.task, score.metric, score.group, by_step, to_teacher, to_cut, lower))
    return comparisons


def _differences(
    results: Mapping[str, Evaluation], base: str, score: Score, resamples: int, seed: int
) -> dict[str, Difference]:
    """By step after the base, its difference to the base."""
    if base not in results:
        return {}
    steps = list(results)
    differences = {
        step: difference(results[step], results[base], score, resamples, seed)
        for step in steps[steps.index(base) + 1 :]
    }
    return {step: found for step, found in differences.items() if found is not None}


def difference(one: Evaluation, other: Evaluation, score: Score, resamples: int, seed: int) -> Difference | None:
    """One result minus another on the same items, of the figure that a score names; nothing where the task keeps no items.

    Args:
        one: the one result.
        other: the other, of the same task.
        score: says which figure.
        resamples: bootstrap resamples for the interval.
        seed: seeds the bootstrap.
    """
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
        raise ArtifactError(path, "was computed on other items than the results of the other models")
