"""Memory that a process has freed and still holds."""

from __future__ import annotations

import ctypes

import pyarrow as pa


def release_freed_memory() -> None:
    """Give freed memory back to the system.

    Arrow's pool and the C library's heap keep freed blocks for later; blocks of other sizes or in another allocator cannot
    use them. This takes milliseconds, and what is used afterwards has to be mapped again: call it between pieces of work that
    take seconds. Without glibc only Arrow's pool is released.
    """
    pa.default_memory_pool().release_unused()
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
