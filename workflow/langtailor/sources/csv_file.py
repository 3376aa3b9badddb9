"""Rows of CSV, by the lines where they begin, and the header that names their columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from langtailor.errors import SourceError


def csv_rows(lines: Iterable[str], path: Path, **style: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of the line where each begins; blank lines are none.

    Args:
        lines: the file's lines with their ends.
        path: the file, for messages.
        style: further arguments of :func:`csv.reader`.

    Raises:
        SourceError: a quotation mark is not closed, or stands in a quoted value alone; names the line.
    """
    # Without `strict` a quotation mark that is not closed takes all following lines into its value.
    rows = csv.reader(lines, strict=True, **style)
    line = 1
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise SourceError(
                f"{path}, line {line}: is not CSV ({error}); a value with a comma, a line end or a quotation mark must be "
                "quoted, and a quotation mark in it doubled"
            ) from error
        if row is None:
            return
        if row:
            yield line, row
        line = rows.line_num + 1


def refuse_repeated(names: Sequence[str], columns: Iterable[str | int], source: str) -> None:
    """Refuse a column that is to be read but stands twice in the header, as either could be meant.

    Args:
        names: all names of the header.
        columns: those that are to be read.
        source: the file, for messages.

    Raises:
        SourceError: names the column.
    """
    if repeated := [column for column in columns if sum(name == column for name in names) > 1]:
        raise SourceError(f"{source}: has more than one column {repeated[0]!r}; rename or remove all but one")
