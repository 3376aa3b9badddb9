"""Iterables in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size`` (Python 3.12 has it as ``itertools.batched``, with tuples)."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
