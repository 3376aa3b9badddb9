"""Semantic textual similarity: do the model's cosines order sentence pairs as people do?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, rankdata, spearmanr

from langtailor.evaluation.scores import Floats, Score, bootstrap, interval


def sts_scores(cosines: Floats, gold: Floats, resamples: int, seed: int) -> tuple[Score, ...]:
    """Spearman and Pearson correlation, times 100, with bootstrap intervals.

    Args:
        cosines: float64, shape (n,): the model's cosine of each pair.
        gold: float64, shape (n,): the human scores.
        resamples: bootstrap resamples.
        seed: seeds the bootstrap.
    """
    spearman = bootstrap(lambda rows: 100 * rowwise_spearman(cosines[rows], gold[rows]), len(gold), resamples, seed)
    pearson = bootstrap(lambda rows: 100 * rowwise_pearson(cosines[rows], gold[rows]), len(gold), resamples, seed)
    return (
        Score("spearman", round(100 * float(spearmanr(cosines, gold).statistic), 4), *interval(spearman), len(gold)),
        Score("pearson", round(100 * float(pearsonr(cosines, gold).statistic), 4), *interval(pearson), len(gold)),
    )


def rowwise_spearman(a: Floats, b: Floats) -> Floats:
    """Spearman's correlation of each row of ``a`` with the same row of ``b``; float64, shapes (b, n) to (b,)."""
    return rowwise_pearson(rankdata(a, axis=1), rankdata(b, axis=1))


def rowwise_pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> Floats:
    """Pearson's correlation of each row of ``a`` with the same row of ``b``; NaN where a row is constant."""
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=1) / spread, dtype=np.float64)
