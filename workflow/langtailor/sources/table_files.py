"""Reading the user's tables of evaluation data: CSV, TSV, JSON Lines and Parquet."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langtailor.errors import SourceError
from langtailor.sources.csv_file import csv_rows, refuse_repeated

Column = str | int
Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Table:
    """Some columns of a table.

    Attributes:
        source: the file or data set.
        unit: what its rows are counted in: ``line`` or ``row``.
        numbers: number of each row.
        columns: values by column, as they stand there; ``None`` where a value is null or missing.
    """

    source: str
    unit: str
    numbers: Sequence[int]
    columns: Mapping[Column, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int) -> str:
        """The place of a row, for messages."""
        return f"{self.source}: {self.unit} {self.numbers[row]}"

    def texts(self, column: Column, *, may_be_blank: bool = False) -> list[str]:
        """A column of text; a number is taken as it is written.

        Raises:
            SourceError: a value is null, missing, blank or no valid text; names the row.
        """
        return [self._text(row, column, value, may_be_blank) for row, value in enumerate(self.columns[column])]

    def optional_texts(self, column: Column) -> list[str]:
        """The same of a column that may be missing, and of which a value may be blank; empty where it is null.

        Raises:
            SourceError: a value is no valid text; names the row.
        """
        values = enumerate(self.columns[column])
        return ["" if value is None else self._text(row, column, value, True) for row, value in values]

    def floats(self, column: Column) -> list[float]:
        """A column of finite numbers.

        Raises:
            SourceError: a value is none; names the row.
        """
        return [self._float(row, column, value) for row, value in enumerate(self.columns[column])]

    def text_lists(self, column: Column) -> list[tuple[str, ...]]:
        """A column of lists of texts, of which one text is a list, too; none where it is null or missing.

        Raises:
            SourceError: a value is neither valid text nor a list of it; names the row.
        """
        return [self._text_list(row, column, value) for row, value in enumerate(self.columns[column])]

    def _text_list(self, row: int, column: Column, value: Any) -> tuple[str, ...]:
        if value is None:
            return ()
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise SourceError(f"{self.place(row)}: {column!r} is {value!r} where a list of texts is expected")
        for text in value:
            self._check_text(row, column, text)
        return tuple(value)

    def _text(self, row: int, column: Column, value: Any, may_be_blank: bool) -> str:
        if value is None:
            raise SourceError(f"{self.place(row)}: {column!r} is null or missing")
        if isinstance(value, Mapping | list | bytes):
            raise SourceError(f"{self.place(row)}: {column!r} is a {type(value).__name__} where text is expected")
        text = str(value)
        self._check_text(row, column, text)
        if not may_be_blank and not text.strip():
            raise SourceError(f"{self.place(row)}: {column!r} is empty")
        return text

    def _check_text(self, row: int, column: Column, text: str) -> None:
        if problem := encoding_problem(text):
            raise SourceError(f"{self.place(row)}: {column!r} {problem}")

    def _float(self, row: int, column: Column, value: Any) -> float:
        if value is None:
            raise SourceError(f"{self.place(row)}: {column!r} is null or missing")
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise SourceError(f"{self.place(row)}: {column!r} is {value!r}, which is not a number")
        return number


def encoding_problem(text: str) -> str:
    """What keeps a text from being encoded: JSON can write halves of surrogate pairs. Empty for all other texts."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has half a surrogate pair at character {error.start + 1}, which is not valid text"
    return ""


def read_table(path: Path, columns: Sequence[Column], optional: Sequence[Column] = ()) -> Table:
    """Some columns of a file.

    Args:
        path: the file; CSV unless its suffix is ``.tsv``, ``.jsonl`` or ``.parquet``.
        columns: their names; where all are numbers, those of a CSV or TSV file without a header.
        optional: columns that the file need not have.

    Raises:
        SourceError: the file cannot be read, or a column is missing.
    """
    unit, read = _READERS.get(path.suffix.lower(), ("line", _csv_rows))
    try:
        return table_of(str(path), unit, read(path, columns, optional), columns, optional)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read as a table: {error}") from error


def table_of(
    source: str, unit: str, rows: Iterable[tuple[int, Row]], columns: Sequence[Column], optional: Sequence[Column] = ()
) -> Table:
    """Some columns of numbered rows.

    Raises:
        SourceError: there is no row, or none has one of the columns.
    """
    values: dict[Column, list[Any]] = {column: [] for column in (*columns, *optional)}
    numbers, names = [], dict[Column, None]()
    for number, row in rows:
        numbers.append(number)
        names |= dict.fromkeys(row)
        for column, found in values.items():
            found.append(_or_none(row.get(column)))
    if not numbers:
        raise SourceError(f"{source}: has no {unit}s with values")
    _require(columns, list(names), source)
    return Table(source, unit, numbers, values)


def _require(columns: Sequence[Column], names: Sequence[Column], source: str) -> None:
    if missing := [column for column in columns if column not in names]:
        raise SourceError(f"{source}: no column {missing[0]!r}; it has {list(names)}. Name its columns.")


def _or_none(value: Any) -> Any:
    """NaN is what other tools write for a missing value."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _csv_rows(path: Path, columns: Sequence[Column], optional: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(sys.maxsize)  # a cell may be long
    # Tab-separated files hold bare quotation marks.
    style: Any = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix.lower() == ".tsv" else {}
    names: Sequence[Column] | None = None
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for line, cells in csv_rows(stream, path, **style):
            if names is None:
                headless = all(isinstance(column, int) for column in columns)
                names = range(len(cells)) if headless else cells
                _require(columns, names, str(path))
                if not headless:
                    refuse_repeated(cells, (*columns, *optional), str(path))
                    continue
            if len(cells) != len(names):
                raise ValueError(f"line {line} has {len(cells)} columns where {len(names)} are expected")
            yield line, dict(zip(names, cells, strict=True))
    if names is None:
        raise ValueError("it is empty")


def _json_rows(path: Path, columns: Sequence[Column], optional: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number}: is not JSON ({error})") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number}: a JSON {type(row).__name__} where an object is expected")
            yield number, row


def _parquet_rows(path: Path, columns: Sequence[Column], optional: Sequence[Column]) -> Iterator[tuple[int, Row]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    _require(columns, file.schema_arrow.names, str(path))
    refuse_repeated(file.schema_arrow.names, (*columns, *optional), str(path))
    number = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield number, row


_READERS = {".tsv": ("line", _csv_rows), ".jsonl": ("line", _json_rows), ".parquet": ("row", _parquet_rows)}
