"""Ranking documents by similarity, and what the ranking of each query is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from langtailor.evaluation.scores import Floats
from langtailor.models.similarity import COSINE, Similarity

#: Documents of a query that count.
DEPTH = 10
#: The figures of a query, in order.
METRICS = ("ndcg@10", "recall@10", "mrr@10")
_QUERIES_AT_ONCE, _DOCUMENTS_AT_ONCE = 256, 65_536


def nearest(
    queries: NDArray[np.float32], keys: NDArray[np.float32], depth: int, similarity: Similarity = COSINE
) -> NDArray[np.int64]:
    """Rows of the most similar keys of each query, the most similar first, ties by row; int64, shape (q, depth).

    Exact; memory is that of one block of queries against one block of keys.
    """
    depth = min(depth, len(keys))
    ranked = np.empty((len(queries), depth), np.int64)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = queries[start : start + _QUERIES_AT_ONCE]
        rows, values = np.empty((len(part), 0), np.int64), np.empty((len(part), 0), np.float32)
        for first in range(0, len(keys), _DOCUMENTS_AT_ONCE):
            block = similarity.matrix(part, keys[first : first + _DOCUMENTS_AT_ONCE])
            values = np.concatenate([values, block], axis=1)
            block_rows = np.broadcast_to(np.arange(first, first + block.shape[1]), block.shape)
            rows = np.concatenate([rows, block_rows], axis=1)
            best = np.argsort(-values, axis=1, kind="stable")[:, :depth]
            rows, values = np.take_along_axis(rows, best, axis=1), np.take_along_axis(values, best, axis=1)
        ranked[start : start + len(part)] = rows
    return ranked


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
