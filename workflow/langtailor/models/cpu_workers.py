"""Independent forward and backward passes of a model, one on each core.

Threads that share every matrix product wait for one another after each, and all wait for one that the system has
descheduled. With a pass of its own on each core none waits, and a result does not depend on the number of cores.
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
    """How to run passes: on a CPU as many at a time as torch has threads, with one thread each; elsewhere one by one."""
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
