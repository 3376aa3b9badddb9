"""Batches of texts of similar length, and their padding.

Both functions that make batches cut texts, sorted by falling length, into consecutive batches whose padded size (the longest
text's tokens times the number of texts) stays within a budget; a single longer text is a batch of its own. They differ in what
they know:

- :func:`greedy_batches` decides one batch at a time, in linear time, and asks for the budget before each. It is for
  encoding: there are many texts, and the budget falls when the device runs out of memory.
- :func:`cheapest_batches` compares all partitions by padding and by what starting a micro-batch costs. It is for a training
  batch of some hundred passages with a fixed budget.

Neither can stand in for the other without changing results: the last bits of a vector depend on the shape of its batch,
so that other batches are other bytes in the stored vectors or in the trained weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Lengths = NDArray[np.integer[Any]]

#: A batch that holds this share of its budget ends at a text shorter than ``_SIMILAR_LENGTH`` of its longest.
_SUFFICIENT_SHARE, _SIMILAR_LENGTH = 1 / 8, 0.9
#: What starting a micro-batch costs, in tokens whose computation takes as long; orders of magnitude. On a CPU measured with
#: 6 layers. On a GPU estimated: in the 20 ms in which Python starts the 4,000 kernels of 24 layers, forward and backward,
#: one trains 100 million parameters on 2,000 tokens (at 60 TFLOP/s) to 13,000 (at 400).
_MICRO_BATCH_COST, _GPU_MICRO_BATCH_COST = 48, 4_096


def longest_first(lengths: Lengths | Sequence[int]) -> Rows:
    """The order of falling length; texts of equal length keep their order. int64, shape (n,)."""
    return np.argsort(-np.asarray(lengths), kind="stable")


def greedy_batches(lengths: Lengths, budget: Callable[[], int]) -> Iterator[slice]:
    """Cut texts one batch at a time.

    Args:
        lengths: tokens of each text, falling; shape (n,).
        budget: gives the most tokens, padding included, of the next batch.

    Yields:
        Consecutive slices that cover all texts.
    """
    start = 0
    while start < len(lengths):
        longest, most = max(int(lengths[start]), 1), budget()
        fits = start + max(1, most // longest)
        sufficient = start + max(1, int(_SUFFICIENT_SHARE * most) // longest)
        similar = int(np.searchsorted(-lengths, -_SIMILAR_LENGTH * longest, side="right"))
        end = min(fits, max(sufficient, similar), len(lengths))
        yield slice(start, end)
        start = end


def cheapest_batches(lengths: Lengths, budget: int, device: str = "cpu") -> list[slice]:
    """Cut texts so that padding and the number of micro-batches cost least together.

    Args:
        lengths: tokens of each text, falling; shape (n,).
        budget: most tokens, padding included, of a batch.
        device: what computes, ``cpu`` or a kind of GPU, where few large micro-batches cost less than many small ones.

    Returns:
        Consecutive slices that cover all texts; of all partitions within the budget one of the cheapest.
    """
    micro_batch_cost = _MICRO_BATCH_COST if device == "cpu" else _GPU_MICRO_BATCH_COST
    cheapest = np.full(len(lengths) + 1, np.inf)
    cheapest[0] = 0
    start_of = np.zeros(len(lengths) + 1, dtype=np.int64)
    for start, longest in enumerate(lengths):
        # A batch from `start` is as wide as its first, longest text.
        ends = np.arange(start + 1, min(len(lengths), start + max(1, budget // int(longest))) + 1)
        costs = cheapest[start] + micro_batch_cost + (ends - start) * int(longest)
        better = costs < cheapest[ends]
        cheapest[ends[better]] = costs[better]
        start_of[ends[better]] = start
    return _traced_back(start_of)


def _traced_back(start_of: Rows) -> list[slice]:
    """The slices of the cheapest partition, given where the last batch of each beginning of the list starts."""
    slices, end = [], len(start_of) - 1
    while end:
        start = int(start_of[end])
        slices.append(slice(start, end))
        end = start
    return slices[::-1]


def padded(ids: Sequence[Sequence[int] | NDArray[np.int32]], pad: int, side: str) -> tuple[Rows, Rows]:
    """Token ids of several texts as one array.

    Args:
        ids: of each text.
        pad: id of the padding.
        side: ``left`` puts the padding before a text, anything else behind it.

    Returns:
        Ids, and a mask that is 1 where there is a text; int64, shape (texts, longest).
    """
    width = max(1, *map(len, ids))
    tokens, mask = np.full((len(ids), width), pad, np.int64), np.zeros((len(ids), width), np.int64)
    for row, text in enumerate(ids):
        part = slice(width - len(text), width) if side == "left" else slice(len(text))
        tokens[row, part], mask[row, part] = text, 1
    return tokens, mask
