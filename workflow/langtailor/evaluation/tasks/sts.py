"""Semantic textual similarity: does the model order sentence pairs as people do?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Self

from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.config.sentence_pairs import StsPairs
from langtailor.evaluation.correlation import rowwise_pearson, rowwise_spearman
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Floats, Score, bootstrap, interval
from langtailor.evaluation.task import Inputs, TaskResult, VectorTask, rounded
from langtailor.sources.sentence_pairs import read_pairs


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
    """Spearman and Pearson correlation, times 100, with bootstrap intervals.

    Args:
        similarities: float64, shape (n,): the model's similarity of each pair.
        gold: float64, shape (n,): the human scores.
        resamples: bootstrap resamples.
        seed: seeds the bootstrap.
    """
    from scipy.stats import pearsonr, spearmanr

    n = len(gold)
    spearman = bootstrap(lambda rows: 100 * rowwise_spearman(similarities[rows], gold[rows]), n, resamples, seed)
    pearson = bootstrap(lambda rows: 100 * rowwise_pearson(similarities[rows], gold[rows]), n, resamples, seed)
    return (
        Score("spearman", round(100 * float(spearmanr(similarities, gold).statistic), 4), *interval(spearman), n),
        Score("pearson", round(100 * float(pearsonr(similarities, gold).statistic), 4), *interval(pearson), n),
    )
