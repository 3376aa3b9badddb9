"""Memory that was freed is given back to the system."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from langtailor.storage.memory import release_freed_memory

LIBRARY = ctypes.CDLL(None)
BLOCKS, BLOCK_BYTES = 1_000, 100_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@contextmanager
def freed_below_a_used_block() -> Iterator[None]:
    """Blocks of the C library's heap, too small to be mapped by themselves, freed but for the last."""
    malloc, free = LIBRARY.malloc, LIBRARY.free
    malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [malloc(BLOCK_BYTES) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    for block in blocks[:-1]:
        free(block)
    yield
    free(blocks[-1])


@pytest.mark.skipif(not hasattr(LIBRARY, "malloc_trim"), reason="only glibc can be asked to")
def test_freed_blocks_below_a_used_one_are_given_back():
    with freed_below_a_used_block():
        before = resident_bytes()
        release_freed_memory()
        assert before - resident_bytes() > BLOCKS * BLOCK_BYTES / 2


def test_what_is_still_used_stays():
    column = pa.array(["word"] * 100_000)
    release_freed_memory()
    assert column.to_pylist() == ["word"] * 100_000
