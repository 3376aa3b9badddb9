"""A finished corpus is read whole, by split, by rows or as a stream, and always says the same."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest

from langtailor.config.base import SPLITS
from langtailor.corpus import reading
from langtailor.corpus.reading import (
    read_corpus,
    read_rows,
    read_text_pairs,
    read_texts,
    split_counts,
    stream_rows,
    stream_texts,
)
from langtailor.errors import ArtifactError
from langtailor.storage.artifacts import Manifest
from langtailor.storage.tables import CORPUS, table_writer

COUNTS = {"train": 23, "validation": 5, "test": 9}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus of several row groups, which do not end where the splits do; every third passage has a pair."""
    for name in ("_TEXTS_AT_ONCE", "_ROWS_AT_ONCE"):
        monkeypatch.setattr(reading, name, 4)
    splits = [split for split in SPLITS for _ in range(COUNTS[split])]
    rows = [
        {"id": f"{n}#0", "lang": "tr", "text": f"metin {n}", "split": split, "pair": None if n % 3 else f"text {n}"}
        for n, split in enumerate(splits)
    ]
    with table_writer(tmp_path / "tr.parquet", CORPUS) as table:
        for start in range(0, len(rows), 10):
            table.write(pa.RecordBatch.from_pylist(rows[start : start + 10], CORPUS))
        table.seal(Manifest("corpus", facts={"passages": COUNTS}))
    return tmp_path / "tr.parquet"


def test_the_texts_of_a_split_come_in_order(corpus: Path) -> None:
    assert read_texts(corpus, "validation") == [f"metin {n}" for n in range(23, 28)]
    assert read_texts(corpus, "test", limit=2) == ["metin 28", "metin 29"]


def test_only_texts_with_an_aligned_text_are_pairs(corpus: Path) -> None:
    assert read_text_pairs(corpus, "validation") == [("metin 24", "text 24"), ("metin 27", "text 27")]


@pytest.mark.parametrize(("start", "count"), [(0, 37), (0, 1), (3, 9), (20, 100), (36, 1), (37, 5)])
def test_consecutive_rows_are_those_of_the_whole(corpus: Path, start: int, count: int) -> None:
    assert read_rows(corpus, start, count).equals(read_corpus(corpus).slice(start, count))


def test_a_stream_of_texts_has_those_of_its_splits(corpus: Path) -> None:
    streamed = chain.from_iterable(batch.to_pylist() for batch in stream_texts(corpus, ["train", "test"]))
    assert list(streamed) == read_texts(corpus, "train") + read_texts(corpus, "test")


@pytest.mark.parametrize("split", SPLITS)
def test_a_stream_of_rows_comes_in_full_tables(corpus: Path, split: str) -> None:
    tables = list(stream_rows(corpus, split, ["id", "text"], 7))
    assert all(len(table) == 7 for table in tables[:-1])
    assert pa.concat_tables(tables).equals(read_corpus(corpus, split, ["id", "text"]))


def test_counts_by_split_need_no_rows(corpus: Path) -> None:
    assert split_counts(corpus) == COUNTS


def test_a_corpus_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for read in (
        read_corpus,
        split_counts,
        lambda path: read_rows(path, 0, 1),
        lambda path: list(stream_texts(path, [])),
    ):
        with pytest.raises(ArtifactError, match=r"none\.parquet: is missing or damaged"):
            read(tmp_path / "none.parquet")
