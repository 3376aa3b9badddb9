"""The keys that are most similar to a vector: an exact search, in blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from langtailor.models.similarity import COSINE, Similarity

#: Vectors that are searched for together: as many as a caller hands over at once.
QUERIES_AT_ONCE = 256
_KEYS_AT_ONCE = 65_536
#: Sets the similarities to excluded keys to minus infinity, in place; also gets the row of the first key.
Hide = Callable[[NDArray[np.float32], int], None]


def nearest(
    queries: NDArray[np.float32],
    keys: NDArray[np.float32],
    depth: int,
    similarity: Similarity,
    hide: Hide | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows of the most similar keys of each query, the most similar first, ties by row, and their similarities.

    Memory is that of all queries against one block of keys.

    Args:
        queries: at most :data:`QUERIES_AT_ONCE`, prepared for the similarity; float32, shape (q, d).
        keys: likewise, shape (n, d).
        depth: how many are found, or all where there are not so many.
        similarity: how vectors are compared.
        hide: leaves keys out; what could not be filled with others then has the similarity minus infinity.

    Returns:
        int64 and float32, shape (q, depth).
    """
    rows, values = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    for first in range(0, len(keys), _KEYS_AT_ONCE):
        block = similarity.matrix(queries, keys[first : first + _KEYS_AT_ONCE])
        block[np.isnan(block)] = -np.inf  # of a model that overflows, such as an export in float16
        if hide is not None:
            hide(block, first)
        largest = _largest(block, depth)
        rows = np.concatenate([rows, largest + first], axis=1)
        values = np.concatenate([values, np.take_along_axis(block, largest, axis=1)], axis=1)
    best = np.argsort(-values, axis=1, kind="stable")[:, :depth]
    return np.take_along_axis(rows, best, axis=1), np.take_along_axis(values, best, axis=1)


def nearest_rows(
    queries: NDArray[np.float32], keys: NDArray[np.float32], depth: int, similarity: Similarity = COSINE
) -> NDArray[np.int64]:
    """Rows of the most similar keys of any number of queries, as :func:`nearest` gives them; int64, shape (q, depth).

    Memory is that of one block of queries against one block of keys.
    """
    parts = [
        nearest(queries[start : start + QUERIES_AT_ONCE], keys, depth, similarity)[0]
        for start in range(0, len(queries), QUERIES_AT_ONCE)
    ]
    return np.concatenate([np.empty((0, min(depth, len(keys))), np.int64), *parts])


def nearest_others(vectors: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
    """Rows of the other vectors that are nearest to each, the nearest first, ties by row.

    Args:
        vectors: float32, shape (n, d), unit rows.
        depth: how many are found, or all where there are not so many.

    Returns:
        int64, shape (n, min(depth, n - 1)).
    """
    rows = nearest_rows(vectors, vectors, depth + 1)
    is_other = rows != np.arange(len(vectors))[:, None]
    is_other[is_other.all(axis=1), -1] = False  # so many others may be as near as the vector is to itself
    return np.asarray(rows[is_other].reshape(len(vectors), -1), dtype=np.int64)


def _largest(block: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
    """Columns of the largest values of each row, in their order, ties by column; int64, shape (n, at most depth)."""
    if block.shape[1] <= depth:
        return np.broadcast_to(np.arange(block.shape[1]), block.shape)
    least = -np.partition(-block, depth - 1, axis=1)[:, depth - 1 : depth]
    # All above the least, and of those equal to it the first ones.
    above, equal = block > least, block == least
    room = depth - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (equal.cumsum(axis=1) <= room))
    return np.nonzero(chosen)[1].reshape(len(block), depth)
