"""Rows on disk: written once in the order of arrival, read back in any order, with little of them in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import pyarrow as pa

from langtailor.storage.atomic import scratch_directory
from langtailor.storage.batching import batched_by_weight

#: One value a column of the schema; all columns are strings.
Row = tuple[str | None, ...]
_BATCH_ROWS = 4096
_BATCH_CHARACTERS = 8_000_000


class Spool:
    """Rows that can be read back in any order; made by :func:`spooled`."""

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = batches
        self._ends = list(accumulate(batch.num_rows for batch in batches))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def pick(self, positions: Iterable[int]) -> Iterator[Row]:
        """The rows at these positions (of arrival, from 0), in this order."""
        for position in positions:
            index = bisect_right(self._ends, position)
            batch = self._batches[index]
            offset = position - self._ends[index] + batch.num_rows
            yield tuple(column[offset].as_py() for column in batch.columns)


@contextmanager
def spooled(rows: Iterable[Row], schema: pa.Schema, beside: Path) -> Iterator[Spool]:
    """Write rows to a temporary file and map it into memory; the file is removed with the context.

    Args:
        rows: one value a column of ``schema``.
        schema: columns of strings.
        beside: what the rows are for; the temporary file is in its folder, which has room for them.
    """
    with scratch_directory(beside) as temporary:
        path = temporary / "rows.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in record_batches(rows, schema):
                writer.write_batch(batch)
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            yield Spool([reader.get_batch(i) for i in range(reader.num_record_batches)])


def record_batches(rows: Iterable[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Gather rows into batches, each bounded in rows and, save for a single longer row, in characters."""
    for batch in batched_by_weight(rows, _characters, _BATCH_CHARACTERS, _BATCH_ROWS):
        yield pa.record_batch([list(column) for column in zip(*batch, strict=True)], schema=schema)


def _characters(row: Row) -> int:
    return sum(len(value) for value in row if value is not None)
