"""How often tokens that the counted text does not have can be expected in other text of its languages.

A vocabulary may have room for more tokens than the text has. Which of the teacher's other tokens belong to the text's
languages, their rows say: training has put tokens that occur together near one another. So a logistic regression on the rows
learns to tell tokens that occur from those that do not, and what it says of the latter orders them.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from langtailor.vocabulary.statistics import Counts

_LOG = logging.getLogger("langtailor")
#: Strength of the ridge on standardised features, and the most steps towards the least loss.
_RIDGE, _STEPS = 10.0, 100
#: Least variance of a direction of the rows, relative to the largest, that is brought to 1.
_LEAST_VARIANCE = 1e-6

Features = NDArray[np.float32]


def expected_counts(table: NDArray[np.float32], counts: Counts) -> dict[str, NDArray[np.float64]]:
    """The number of times that each token can be expected in as much text as was counted, by language.

    If a token occurs a Poisson number of times with mean m, it occurs at all with the probability p = 1 - exp(-m). The
    regression gives p, and so m.

    Args:
        table: the teacher's input embeddings, shape (rows, d).
        counts: by language, how often each token occurs; shape (tokens,).

    Returns:
        By language, shape (tokens,); 0 for tokens without a row.
    """
    features = _features(table)
    return {lang: _expected(features, count > 0) for lang, count in counts.items()}


def _expected(features: Features, occurs: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows = min(len(features), len(occurs))
    expected = np.zeros(len(occurs))
    weights = _logistic_regression(features[:rows], occurs[:rows])
    expected[:rows] = np.logaddexp(0, (features[:rows] @ weights).astype(np.float64))  # -log(1 - p)
    return expected


def _features(table: NDArray[np.float32]) -> Features:
    """Whitened rows, the place in the vocabulary, which follows frequency, and a constant; shape (rows, d + 3).

    All directions are kept: which language a token belongs to is in those of little variance, too.
    """
    centred = table - table.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = np.sqrt(np.maximum(variances, variances.max() * _LEAST_VARIANCE))
    place = np.log1p(np.arange(len(table), dtype=np.float32))[:, None]
    places = np.hstack([place, np.square(place)])
    places = (places - places.mean(axis=0)) / np.maximum(places.std(axis=0), np.finfo(np.float32).tiny)
    return np.hstack([centred @ (directions / scale), places, np.ones_like(place)])


def _logistic_regression(features: Features, occurs: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Weights of the features, with a ridge on all but the last, the constant; shape (features,)."""
    from scipy.optimize import minimize
    from scipy.special import expit

    signs = np.where(occurs, 1, -1).astype(np.float32)
    ridge = np.append(np.full(features.shape[1] - 1, _RIDGE), 0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = signs * (features @ weights.astype(np.float32))
        value = np.logaddexp(0, -margins).sum(dtype=np.float64) + ridge @ np.square(weights) / 2
        gradient = ridge * weights - features.T @ (signs * expit(-margins))
        return value / len(signs), gradient / len(signs)

    fit = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return np.asarray(fit.x, np.float32)
