"""Ranking documents by similarity, and what the ranking of each query is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from langtailor.evaluation.scores import Floats

#: Documents of a query that count.
DEPTH = 10
#: The figures of a query, in order.
METRICS = ("ndcg@10", "recall@10", "mrr@10")


def ranking_figures(ranked: NDArray[np.int64], relevant: Sequence[Mapping[int, float]]) -> Floats:
    """nDCG, recall and reciprocal rank of the ten nearest documents of each query, times 100.

    ``nDCG@10 = DCG / ideal DCG`` with ``DCG = Σ gain(i) / log₂(i + 1)`` over ranks ``i`` (Järvelin and Kekäläinen 2002).

    Args:
        ranked: int64, shape (q, 10 at most): by query, rows of the nearest documents, the nearest first.
        relevant: by query, gains by document row.

    Returns:
        float64, shape (3, q), in the order of :data:`METRICS`.
    """
    figures = np.empty((len(METRICS), len(relevant)))
    for query, (judged, rows) in enumerate(zip(relevant, ranked, strict=True)):
        gains = np.array([judged.get(row, 0.0) for row in rows.tolist()])
        ranks = np.flatnonzero(gains > 0)
        figures[:, query] = (
            _dcg(gains) / _dcg(_ideal(judged)),
            len(ranks) / len(judged),
            1 / (1 + ranks[0]) if len(ranks) else 0,
        )
    return 100 * figures


def _dcg(gains: Floats) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


def _ideal(relevant: Mapping[int, float]) -> Floats:
    return np.sort(np.array(list(relevant.values())))[::-1][:DEPTH]
