"""Documents sampled over the whole of a data set of the Hub that is stored as Parquet.

Footers and single row groups are read by range requests, and of those only the columns in use. Row groups come in an
order drawn by hash, and each gives a bounded share of its rows before the next has its turn, so that a sample is spread
over the data set and a larger one begins with the smaller. What was read is saved in the work folder: after a break,
sampling goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.spec import AbstractBufferedFile
from huggingface_hub import HfFileSystem
from huggingface_hub.errors import HfHubHTTPError

from langtailor.config.corpus import HubSource
from langtailor.corpus.dataset_files import parquet_files
from langtailor.corpus.document import Document, document_hash
from langtailor.corpus.nested import column_at, paths_in, type_at
from langtailor.errors import ArtifactError, SourceError
from langtailor.progress import Progress
from langtailor.sources.csv_file import refuse_repeated
from langtailor.sources.hub import resolve_revision
from langtailor.sources.hub_client import PATIENCE, Patience, hub_session
from langtailor.sources.hub_refusals import Repository
from langtailor.storage.artifacts import Manifest, canonical_json
from langtailor.storage.atomic import atomic_file
from langtailor.storage.batching import batched
from langtailor.storage.digests import sha256_bytes
from langtailor.storage.tables import DOCUMENTS, read_table, read_table_manifest, write_table

_KIND = "row group"
#: Files are opened this many at a time, in an order drawn by hash, until there are documents enough.
_FILES_AT_ONCE = 64
#: Rows that a row group gives before the next one's turn: at least this many, or one in this many.
_LEAST_ROWS, _ROW_SHARE = 256, 8


@dataclass(frozen=True)
class HubSample:
    """Documents from the Hub and where they come from.

    Attributes:
        documents: the sample, in its order; read once.
        facts: data set, commit, subset and split; files, row groups and rows, read and in all.
    """

    documents: Iterator[Document]
    facts: dict[str, Any]


@dataclass(frozen=True)
class _RowGroup:
    """A row group of a file; ``first`` counts the file's rows before it."""

    file: str
    index: int
    first: int
    rows: int


@dataclass(frozen=True)
class _SavedRowGroup:
    """A row group in the work folder: its usable rows, ordered by the hash of their ids.

    Attributes:
        path: the table.
        read: rows of the row group.
        rows: rows of the table.
        turn: how many of them are taken before the next row group has its turn.
    """

    path: Path
    read: int
    rows: int
    turn: int


def sample_documents(
    source: HubSource, source_lang: str, wanted: int, seed: int, work: Path, patience: Patience = PATIENCE
) -> HubSample:
    """Sample documents of one subset and split; blank ones are passed over.

    Args:
        source: data set, subset, split and columns.
        source_lang: stands for ``{lang}`` in the subset's name.
        wanted: the most documents to take.
        seed: of the sample.
        work: folder for what was read, kept between attempts.
        patience: how long to try when the Hub is busy or out of reach.

    Raises:
        HubError: the Hub refuses or cannot be reached.
        SourceError: no such subset, split or column, no Parquet, or a file that cannot be read.
    """
    commit = resolve_revision(source.dataset, "dataset", source.revision, patience)
    subset = source.subset.replace("{lang}", source_lang)
    with hub_session(Repository(source.dataset, "dataset", commit), patience):
        reader = _Reader(source, commit, subset, seed, work)
        saved = list(_until_enough(reader, wanted))
    facts = {
        "dataset": source.dataset,
        "revision": commit,
        "subset": subset,
        "split": source.split,
        **reader.facts(saved),
    }
    return HubSample(_in_turns(saved, wanted), facts)


class _Reader:
    """Reads row groups of one split, from the work folder where they are there already."""

    def __init__(self, source: HubSource, commit: str, subset: str, seed: int, work: Path) -> None:
        self._source, self._seed, self._fs = source, seed, HfFileSystem()
        self._root = f"hf://datasets/{source.dataset}@{commit}"
        self.label = f"{source.dataset}, subset {subset!r}, split {source.split!r}"
        self.files = parquet_files(self._fs, self._root, subset, source.split)
        self._fields = {"id": source.id_field, "text": source.text_field, "pair": source.pair_field}
        self._made_by = {"root": self._root, "subset": subset, "split": source.split, "seed": seed, **self._fields}
        self._folder = work / sha256_bytes(canonical_json(self._made_by).encode())[:16]
        self._footers: dict[str, pq.FileMetaData] = {}

    def row_groups(self) -> Iterator[_RowGroup]:
        """All row groups, in an order drawn by hash. Footers are read as they are needed."""
        files = sorted(self.files, key=self._place)
        for some in batched(files, _FILES_AT_ONCE):
            groups = [group for file in some for group in self._groups_of(file)]
            yield from sorted(groups, key=lambda group: self._place(f"{group.file}:{group.index}"))

    def save(self, group: _RowGroup) -> _SavedRowGroup:
        """Read a row group, unless the work folder has it, and save its usable rows there."""
        made_by = {**self._made_by, "file": group.file, "row_group": group.index}
        path = self._folder / f"{_short(group.file)}.{group.index}.parquet"
        try:
            manifest = read_table_manifest(path, _KIND, DOCUMENTS)
        except ArtifactError:
            manifest = None
        if manifest is None or manifest.made_by != made_by:
            table = self._read(group)
            manifest = Manifest(_KIND, made_by, facts={"rows": table.num_rows})
            write_table(path, table, manifest)
        turn = max(_LEAST_ROWS, math.ceil(group.rows / _ROW_SHARE))
        return _SavedRowGroup(path, group.rows, int(manifest.facts["rows"]), turn)

    def facts(self, saved: Sequence[_SavedRowGroup]) -> dict[str, Any]:
        """What was read, and what the files opened hold in all."""
        footers = self._footers.values()
        return {
            "files": {"opened": len(footers), "all": len(self.files)},
            "row_groups": {"read": len(saved), "all": sum(footer.num_row_groups for footer in footers)},
            "rows": {"read": sum(group.read for group in saved), "all": sum(footer.num_rows for footer in footers)},
        }

    def _place(self, name: str) -> int:
        return document_hash("order", self._seed, name)

    def _groups_of(self, file: str) -> Iterator[_RowGroup]:
        footer, first = self._footer(file), 0
        for index in range(footer.num_row_groups):
            rows = footer.row_group(index).num_rows
            yield _RowGroup(file, index, first, rows)
            first += rows

    def _footer(self, file: str) -> pq.FileMetaData:
        if file not in self._footers:
            path = self._folder / f"{_short(file)}.footer"
            footer = _saved_footer(path)
            if footer is None:
                with _explained(f"{self._source.dataset}: {file}"), self._open(file) as stream:
                    footer = pq.read_metadata(stream)
                with atomic_file(path) as temporary:
                    footer.write_metadata_file(temporary)
            self._check_columns(footer.schema.to_arrow_schema(), file)
            self._footers[file] = footer
        return self._footers[file]

    def _check_columns(self, schema: pa.Schema, file: str) -> None:
        fields = [field for field in self._fields.values() if field is not None]
        refuse_repeated(schema.names, fields, f"{self.label}: {file}")
        for name, field in self._fields.items():
            if field is None:
                continue
            kind = type_at(schema, field)
            if kind is None:
                none = "; `null` numbers the documents" if name == "id" else ""
                raise SourceError(
                    f"{self.label}: {file} has no column {field!r}; it has {', '.join(paths_in(schema))}. "
                    f"Set `{name}_field` of the source in `corpus.sources` to one of them{none}."
                )
            if not (_is_text(kind) or (name == "id" and pa.types.is_integer(kind))):
                raise SourceError(
                    f"{self.label}: column {field!r} of {file} holds {kind} where text is needed. "
                    f"Set `{name}_field` of the source in `corpus.sources` to another of {', '.join(paths_in(schema))}."
                )

    def _read(self, group: _RowGroup) -> pa.Table:
        """The usable rows of a row group, fetched."""
        columns = list(dict.fromkeys(field for field in self._fields.values() if field is not None))
        footer = self._footer(group.file)
        with _explained(f"{self._source.dataset}: {group.file}, row group {group.index}"):
            with (
                self._open(group.file) as stream,
                pq.ParquetFile(stream, metadata=footer, page_checksum_verification=True) as file,
            ):
                table = file.read_row_group(group.index, columns=columns)
            return self._usable(table, group)

    def _usable(self, table: pa.Table, group: _RowGroup) -> pa.Table:
        """Rows with text (and pair, where there is a column for it), ordered by the hash of their ids."""
        source = self._source
        text = column_at(table, source.text_field).cast(pa.string())
        usable = _not_blank(text)
        if source.pair_field is None:
            pair = pa.nulls(table.num_rows, pa.string())
        else:
            pair = column_at(table, source.pair_field).cast(pa.string())
            usable = pc.and_(usable, _not_blank(pair))
        if source.id_field is None:
            ids = pa.array([f"{group.file}:{group.first + row}" for row in range(1, table.num_rows + 1)], pa.string())
        else:
            ids = column_at(table, source.id_field).cast(pa.string())
        documents = pa.table([ids, text, pair], schema=DOCUMENTS).filter(usable)
        documents.validate(full=True)
        if documents["id"].null_count:
            raise SourceError(f"{self.label}: {group.file} has rows without {source.id_field!r}; set `id_field: null`.")
        hashes = np.fromiter((self._place(name.as_py()) for name in documents["id"]), np.uint64, len(documents))
        return documents.take(np.argsort(hashes, kind="stable"))

    def _open(self, file: str) -> AbstractBufferedFile:
        # Without read-ahead: the Parquet reader asks for exactly what it needs.
        return self._fs.open(f"{self._root}/{file}", cache_type="none")


def _until_enough(reader: _Reader, wanted: int) -> Iterator[_SavedRowGroup]:
    """Row groups, until their first turns hold ``wanted`` documents or there are no more."""
    documents = 0
    with Progress(f"sampling {reader.label}", wanted, "document") as progress:
        for group in reader.row_groups():
            saved = reader.save(group)
            yield saved
            gained = min(saved.rows, saved.turn, wanted - documents)
            progress.update(gained)
            documents += gained
            if documents == wanted:
                break


def _in_turns(saved: Sequence[_SavedRowGroup], wanted: int) -> Iterator[Document]:
    left = wanted
    for turn in count():
        pending = [group for group in saved if group.rows > turn * group.turn]
        for group in pending:
            table, _ = read_table(group.path, _KIND, DOCUMENTS)
            rows = table.slice(turn * group.turn, min(group.turn, left)).to_pylist()
            yield from (Document(**row) for row in rows)
            left -= len(rows)
            if not left:
                return
        if not pending:
            return


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Turn what reading Parquet can raise into an error that names the place; what the Hub says passes."""
    try:
        yield
    except HfHubHTTPError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{place}: cannot be read as Parquet: {error}") from error


def _saved_footer(path: Path) -> pq.FileMetaData | None:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return None


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _not_blank(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.not_equal(pc.utf8_trim_whitespace(text), "")


def _short(name: str) -> str:
    return sha256_bytes(name.encode())[:16]
