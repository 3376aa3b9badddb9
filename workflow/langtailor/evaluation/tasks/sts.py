"""Semantic textual similarity: does the model order sentence pairs as people do?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.config.sentence_pairs import StsPairs
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Floats, Score, bootstrap, interval
from langtailor.evaluation.task import Inputs, TaskResult, VectorTask, rounded
from langtailor.models.correlation import rowwise_pearson, rowwise_spearman
from langtailor.sources.sentence_pairs import read_pairs

_LOG = logging.getLogger("langtailor")


@task_kind
class StsTask(StsPairs, VectorTask):
    """Semantic textual similarity: correlation of the vectors' similarity with human scores, times 100."""

    kind: Literal["sts"]

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        return TaskNeeds(files=() if self.path is None else (self.path,))

    def texts_only(self) -> Self:
        return self.only(*StsPairs.model_fields)

    def texts(self) -> Iterable[str]:
        pairs = read_pairs(self)
        return (*pairs.first, *pairs.second)

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        pairs = read_pairs(self)
        first = self.encode(evaluator, pairs.first, "encoding first sentences")
        second = self.encode(evaluator, pairs.second, "encoding second sentences")
        similarities = evaluator.similarity.pairs(first, second)
        scores = sts_scores(similarities, pairs.gold, evaluator.resamples, evaluator.seed)
        return TaskResult(scores, {evaluator.similarity.name: rounded(similarities)}, tuple(pairs.gold.tolist()))


def sts_scores(similarities: Floats, gold: Floats, resamples: int, seed: int) -> tuple[Score, ...]:
    """Spearman and Pearson correlation, times 100, with bootstrap intervals; 0 where all similarities are equal.

    Args:
        similarities: float64, shape (n,): the model's similarity of each pair.
        gold: float64, shape (n,): the human scores.
        resamples: bootstrap resamples.
        seed: seeds the bootstrap.
    """
    n = len(gold)
    if (similarities == similarities[0]).all():
        _LOG.warning("the model gives all %d pairs the same similarity; its correlation with the scores counts as 0", n)

    def score(metric: str, correlation: Callable[[Floats, Floats], Floats]) -> Score:
        def statistic(rows: NDArray[np.int64]) -> Floats:
            return 100 * correlation(similarities[rows], gold[rows])

        value = float(statistic(np.arange(n)[None, :])[0])
        return Score(metric, round(value, 4), *interval(bootstrap(statistic, n, resamples, seed)), n)

    return score("spearman", rowwise_spearman), score("pearson", rowwise_pearson)
