"""Finding the translation of a sentence among all the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from langtailor.evaluation.scores import Score, mean_score

_ROWS_AT_ONCE = 1_024
_NEIGHBOURS = 4


def bitext_scores(
    source: NDArray[np.float32], target: NDArray[np.float32], *, margin: bool, resamples: int, seed: int
) -> tuple[tuple[Score, ...], dict[str, tuple[float, ...]]]:
    """Share of sentences whose nearest neighbour on the other side is their translation, in both directions.

    The error of the LASER papers (Artetxe and Schwenk 2019, https://arxiv.org/abs/1812.10464) is 100 minus the
    accuracy.

    Args:
        source: float32, shape (n, d), unit rows.
        target: float32, shape (n, d), unit rows; row i translates row i of ``source``.
        margin: rank by the ratio margin (https://arxiv.org/abs/1811.01136) instead of the cosine.
        resamples: bootstrap resamples.
        seed: seeds the bootstrap.

    Returns:
        Scores (mean of both directions first) and, for each sentence, 100, 50 or 0: found in both directions, in one,
        or in none.
    """
    forward = _hits(source, target, margin)
    backward = _hits(target, source, margin)
    both = (forward + backward) / 2
    scores = tuple(
        mean_score("accuracy", hits, resamples, seed, group=group)
        for group, hits in (("both directions", both), ("forward", forward), ("backward", backward))
    )
    return scores, {"both directions": tuple(both.tolist())}


def _hits(queries: NDArray[np.float32], keys: NDArray[np.float32], margin: bool) -> NDArray[np.float64]:
    scale = _mean_of_nearest(keys, queries) if margin else None
    found = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        cosines = queries[rows] @ keys.T
        if scale is not None:
            own = _mean_of_largest(cosines)
            cosines = cosines / (own[:, None] / 2 + scale[None, :] / 2)
        found[rows] = cosines.argmax(axis=1)
    return np.where(found == np.arange(len(queries)), 100.0, 0.0)


def _mean_of_nearest(queries: NDArray[np.float32], keys: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = [
        _mean_of_largest(queries[start : start + _ROWS_AT_ONCE] @ keys.T)
        for start in range(0, len(queries), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _mean_of_largest(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    k = min(_NEIGHBOURS, cosines.shape[1])
    return np.asarray(np.partition(cosines, -k, axis=1)[:, -k:].mean(axis=1), dtype=np.float32)
