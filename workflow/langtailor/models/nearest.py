"""The keys that are most similar to a vector: an exact search, in blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from langtailor.models.similarity import Similarity

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
