"""Records of the user's files: plain text, JSON, CSV, TSV and Parquet, compressed or not.

Every reader streams, and names file, line and field of what it cannot take.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from langtailor.config.corpus import FilesSource
from langtailor.corpus.compression import compression_of, open_stream
from langtailor.corpus.json_array import JsonArray
from langtailor.corpus.nested import MissingFieldError, paths_in, type_at, value_at
from langtailor.corpus.text_file import MOST_BYTES, explained, read_lines
from langtailor.errors import SourceError
from langtailor.sources.csv_file import csv_rows, refuse_repeated
from langtailor.sources.table_files import encoding_problem

_BATCH_ROWS = 256


@dataclass(frozen=True)
class Record:
    """What a file says of one document; ``None`` for an id or an aligned text that it does not give."""

    id: str | None
    text: str
    pair: str | None


def read_records(path: Path, source: FilesSource) -> Iterator[Record]:
    """The records of a file, in order, in the format that its name tells.

    Args:
        path: a file with one of the suffixes of :data:`FORMATS`, compressed or not.
        source: names of the fields.

    Raises:
        SourceError: names file, line and field that cannot be read.
    """
    return FORMATS[format_of(path)](path, source)


def format_of(path: Path) -> str:
    """The suffix of a file in lower case, without that of its compression."""
    name = path.name.lower()
    return Path(name.removesuffix(compression_of(path))).suffix


# -- formats -----------------------------------------------------------------------------------------------------------


def _text_records(path: Path, _: FilesSource) -> Iterator[Record]:
    for line in read_lines(path):
        yield Record(None, line, None)


def _tsv_records(path: Path, _: FilesSource) -> Iterator[Record]:
    for number, line in enumerate(read_lines(path), 1):
        columns = line.split("\t")
        if len(columns) != 2:
            raise SourceError(
                f"{path}, line {number}: has {len(columns)} tab-separated columns where 2 are expected, "
                "text and aligned text"
            )
        yield Record(None, columns[0], columns[1])


def _csv_records(path: Path, source: FilesSource) -> Iterator[Record]:
    """Records behind a header; blank lines are none. Quoted values may hold commas and line ends (RFC 4180)."""
    csv.field_size_limit(MOST_BYTES)
    header: list[str] | None = None
    for line, row in csv_rows(read_lines(path, keep_ends=True), path):
        if header is None:
            header = row
            refuse_repeated(header, _fields(source), str(path))
            continue
        place = f"{path}, line {line}"
        if len(row) != len(header):
            raise SourceError(f"{place}: has {len(row)} values where the header names {len(header)} columns")
        yield _record(dict(zip(header, row, strict=True)), source, place)


def _json_lines_records(path: Path, source: FilesSource) -> Iterator[Record]:
    for number, line in enumerate(read_lines(path), 1):
        place = f"{path}, line {number}"
        if not line.strip():
            yield Record(None, "", None)
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{place}: is not JSON ({error})") from error
        yield _record(values, source, place)


def _json_records(path: Path, source: FilesSource) -> Iterator[Record]:
    """Records of a file that holds one array of them, or one a line."""
    values = JsonArray(path)
    if not values.is_array:
        yield from _json_lines_records(path, source)
        return
    for number, value in enumerate(values, 1):
        yield _record(value, source, f"{path}, record {number}")


def _parquet_records(path: Path, source: FilesSource) -> Iterator[Record]:
    fields = _fields(source)
    with explained(path), _seekable(path) as stream, pq.ParquetFile(stream) as file:
        refuse_repeated(file.schema_arrow.names, fields, str(path))
        if missing := [field for field in fields if type_at(file.schema_arrow, field) is None]:
            raise SourceError(f"{path}: has no column {missing[0]!r}; it has {', '.join(paths_in(file.schema_arrow))}")
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(dict.fromkeys(fields))):
            for values in _rows(batch, f"{path}, rows {number + 1} to {number + batch.num_rows}"):
                number += 1
                yield _record(values, source, f"{path}, row {number}")


#: Readers by suffix.
FORMATS: Mapping[str, Callable[[Path, FilesSource], Iterator[Record]]] = {
    ".txt": _text_records,
    ".jsonl": _json_lines_records,
    ".json": _json_records,
    ".csv": _csv_records,
    ".tsv": _tsv_records,
    ".parquet": _parquet_records,
}


@contextmanager
def _seekable(path: Path) -> Iterator[Any]:
    """A file in which a reader may go back and forth; a compressed one is unpacked beside."""
    if not compression_of(path):
        yield path
        return
    with tempfile.TemporaryFile() as unpacked:
        with open_stream(path) as stream:
            shutil.copyfileobj(stream, unpacked)
        yield unpacked


def _rows(batch: pa.RecordBatch, place: str) -> Iterable[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError as error:
        raise SourceError(f"{place}: contain text that is not UTF-8 ({error.reason})") from error


# -- fields ------------------------------------------------------------------------------------------------------------


def _fields(source: FilesSource) -> list[str]:
    return [field for field in (source.text_field, source.pair_field, source.id_field) if field is not None]


def _record(values: Any, source: FilesSource, place: str) -> Record:
    if not isinstance(values, dict):
        raise SourceError(f"{place}: is a JSON {type(values).__name__} where an object with fields is expected")
    text = _text(values, source.text_field, place)
    pair = None if source.pair_field is None else _text(values, source.pair_field, place)
    return Record(None if source.id_field is None else _identity(values, source.id_field, place), text, pair)


def _text(values: dict[str, Any], field: str, place: str) -> str:
    """A field's text; empty where the field is null."""
    value = _field(values, field, place)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SourceError(f"{place}, field {field!r}: is a {type(value).__name__} where a text is expected")
    return _encodable(value, field, place)


def _identity(values: dict[str, Any], field: str, place: str) -> str:
    value = _field(values, field, place)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise SourceError(f"{place}, field {field!r}: is {value!r} where an id, a text or a whole number, is expected")
    return _encodable(str(value), field, place)


def _field(values: dict[str, Any], field: str, place: str) -> Any:
    try:
        return value_at(values, field)
    except MissingFieldError as error:
        raise SourceError(f"{place}: {error}") from None


def _encodable(text: str, field: str, place: str) -> str:
    """The text itself, if it is Unicode text."""
    if problem := encoding_problem(text):
        raise SourceError(f"{place}, field {field!r}: {problem}")
    return text
