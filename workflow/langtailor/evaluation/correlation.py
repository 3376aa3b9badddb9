"""Correlations of many resamples at once."""

from __future__ import annotations

import numpy as np

from langtailor.evaluation.scores import Floats


def rowwise_spearman(a: Floats, b: Floats) -> Floats:
    """Spearman's correlation of each row of ``a`` with the same row of ``b``; float64, shapes (b, n) to (b,)."""
    from scipy.stats import rankdata

    return rowwise_pearson(rankdata(a, axis=1), rankdata(b, axis=1))


def rowwise_pearson(a: Floats, b: Floats) -> Floats:
    """Pearson's correlation of each row of ``a`` with the same row of ``b``; NaN where a row is constant."""
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=1) / spread, dtype=np.float64)
