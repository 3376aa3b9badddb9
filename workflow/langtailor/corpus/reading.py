"""The ways to read a finished corpus, ``corpus/{lang}.parquet``.

Each of them raises :class:`~langtailor.errors.ArtifactError` where the file is missing, damaged or no corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from langtailor.config.base import SPLITS
from langtailor.storage.tables import CORPUS, read_batches, read_table, read_table_manifest

#: Passages in one batch of a stream: of texts alone, and of whole rows.
_TEXTS_AT_ONCE, _ROWS_AT_ONCE = 10_000, 1_024


def read_corpus(path: Path, split: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """The passages of one language, in the order train, validation, test.

    Args:
        path: the corpus.
        split: ``train``, ``validation`` or ``test``; ``None`` reads all.
        columns: some of the columns of :data:`langtailor.storage.tables.CORPUS`; ``None`` reads all.
    """
    where = None if split is None else pc.field("split") == split
    return read_table(path, "corpus", CORPUS, columns, where)[0]


def read_texts(path: Path, split: str, limit: int | None = None) -> list[str]:
    """The texts of a split, or the first ``limit`` of them."""
    texts: list[str] = read_corpus(path, split, ["text"])["text"].slice(0, limit).to_pylist()
    return texts


def read_text_pairs(path: Path, split: str) -> list[tuple[str, str]]:
    """The texts of a split that have an aligned text, with it."""
    columns = read_corpus(path, split, ["text", "pair"]).to_pydict()
    return [(text, pair) for text, pair in zip(columns["text"], columns["pair"], strict=True) if pair is not None]


def read_rows(path: Path, start: int, count: int) -> pa.Table:
    """``count`` consecutive rows from row ``start`` on, fewer at the end; no more is held in memory."""
    parts, position = [], 0
    for batch in read_batches(path, "corpus", CORPUS, _ROWS_AT_ONCE):
        if position >= start + count:
            break
        first, last = max(start - position, 0), min(start + count - position, len(batch))
        if first < last:
            parts.append(batch.slice(first, last - first))
        position += len(batch)
    return pa.Table.from_batches(parts, CORPUS)


def stream_texts(path: Path, splits: Sequence[str]) -> Iterator[pa.StringArray]:
    """The texts of some splits, in batches of any size."""
    for batch in read_batches(path, "corpus", CORPUS, _TEXTS_AT_ONCE, columns=["text", "split"]):
        yield batch["text"].filter(pc.is_in(batch["split"], value_set=pa.array(splits)))


def stream_rows(path: Path, split: str, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """The rows of a split in tables of ``rows`` rows; the last may be shorter."""
    pending = CORPUS.empty_table().select(columns)
    for batch in read_batches(path, "corpus", CORPUS, rows, [*columns, "split"]):
        found = pa.Table.from_batches([batch]).filter(pc.field("split") == split).select(columns)
        pending = pa.concat_tables([pending, found.replace_schema_metadata()])
        while len(pending) >= rows:
            yield pending.slice(0, rows)
            pending = pending.slice(rows)
    if len(pending):
        yield pending


def split_counts(path: Path) -> dict[str, int]:
    """Passages per split; only the file's footer is read."""
    passages = read_table_manifest(path, "corpus", CORPUS).facts["passages"]
    return {split: int(passages[split]) for split in SPLITS}
