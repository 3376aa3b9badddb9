"""Independent passes of a model, as many at a time as there are cores.

Threads that share every matrix product wait for one another after each of them, and all wait for one that the system
has put aside. With a pass on each core nobody waits, and a result does not depend on how many cores there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class MapFunction(Protocol):
    """The built-in ``map`` or something like it."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """Results in the order of the items."""
        ...


@contextmanager
def each_core(on_cpu: bool = True) -> Iterator[MapFunction]:
    """How passes are run: on a CPU as many at a time as torch has threads, one thread each; elsewhere in turn."""
    if not on_cpu:
        yield map
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)
