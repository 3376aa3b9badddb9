"""Correlations of many resamples at once, of a model's figures with what people say.

Where all of the model's figures are equal the correlation is 0 / 0. It counts as 0: such a model orders nothing, and a score
that is no number could be neither written nor compared. scikit-learn's ``r_regression`` does the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rowwise_spearman(a: Floats, b: Floats) -> Floats:
    """Spearman's correlation of each row of ``a`` with the same row of ``b``; float64, shapes (b, n) to (b,).

    0 where a row of ``a`` is constant; NaN where one of ``b``, what people say, is.
    """
    from scipy.stats import rankdata

    return rowwise_pearson(rankdata(a, axis=1), rankdata(b, axis=1))


def rowwise_pearson(a: Floats, b: Floats) -> Floats:
    """Pearson's correlation of each row of ``a`` with the same row of ``b``.

    0 where a row of ``a`` is constant; NaN where one of ``b``, what people say, is.
    """
    constant, judged = ((rows == rows[:, :1]).all(axis=1) for rows in (a, b))
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = (a * b).sum(axis=1) / spread
    figures[constant] = 0.0
    figures[judged] = np.nan
    return np.asarray(figures, dtype=np.float64)
