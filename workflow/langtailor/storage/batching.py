"""Iterables in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size`` (Python 3.12 has it as ``itertools.batched``, with tuples)."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def batched_by_weight(
    items: Iterable[T], weigh: Callable[[T], int], limit: int, size: int | None = None
) -> Iterator[list[T]]:
    """The items in lists that end as soon as they weigh ``limit`` or more together, or hold ``size`` items."""
    batch: list[T] = []
    weight = 0
    for item in items:
        batch.append(item)
        weight += weigh(item)
        if len(batch) == size or weight >= limit:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch
