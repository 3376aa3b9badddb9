"""Clustering of frozen vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from langtailor.config.base import UserPath
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.labelled import LabelledTask
from langtailor.evaluation.scores import Score
from langtailor.evaluation.task import Inputs, TaskResult

#: Runs of k-means from other starting points, whose mean is reported.
_STARTS = 10


@task_kind
class ClusteringTask(LabelledTask):
    """Grouping texts by their labels, with k-means on frozen vectors: v-measure."""

    kind: Literal["clustering"]
    path: UserPath
    """A CSV, TSV, JSON Lines or Parquet file."""

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        return TaskNeeds(files=(self.path,))

    def texts_only(self) -> Self:
        return self.only("path", "text", "label")

    def texts(self) -> Iterable[str]:
        return self.read(self.path)[0]

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        texts, labels = self.read(self.path)
        return TaskResult(clustering_scores(self.encode(evaluator, texts, "encoding"), labels, evaluator.seed))


def clustering_scores(vectors: NDArray[np.float32], labels: Sequence[str], seed: int) -> tuple[Score, ...]:
    """V-measure, times 100, of k-means with as many clusters as there are labels (Rosenberg and Hirschberg 2007).

    Args:
        vectors: float32, shape (n, d).
        labels: their labels.
        seed: of the starting points.

    Returns:
        The mean over ten starts.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import v_measure_score

    clusters = len(set(labels))
    seeds = [(seed + start) % 2**32 for start in range(_STARTS)]  # scikit-learn takes no larger one
    measures = [
        v_measure_score(list(labels), KMeans(clusters, n_init=1, random_state=each).fit_predict(vectors))
        for each in seeds
    ]
    return (Score("v-measure", round(100 * float(np.mean(measures)), 4), None, None, len(labels)),)
