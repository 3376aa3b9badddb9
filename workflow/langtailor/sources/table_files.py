"""Reading the user's files of evaluation data."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from langtailor.errors import SourceError


def read_frame(path: Path, columns: Sequence[str | int]) -> pd.DataFrame:
    """Some columns of a CSV, TSV, JSON Lines or Parquet file, in this order; text stays as it is.

    Args:
        path: the file.
        columns: their names; where all are numbers, those of a CSV or TSV file without a header.

    Raises:
        SourceError: the file cannot be read, or a column is missing.
    """
    headless = all(isinstance(column, int) for column in columns)
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif path.suffix == ".jsonl":
            frame = pd.read_json(path, lines=True, dtype=False)
        else:
            frame = pd.read_csv(
                path,
                sep="\t" if path.suffix == ".tsv" else ",",
                header=None if headless else "infer",
                # Tab-separated files hold bare quotation marks.
                quoting=csv.QUOTE_NONE if path.suffix == ".tsv" else csv.QUOTE_MINIMAL,
                keep_default_na=False,
                dtype=str,
            )
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read as a table: {error}") from error
    return chosen(frame, columns, str(path))


def chosen(frame: pd.DataFrame, columns: Sequence[str | int], label: str) -> pd.DataFrame:
    """Some columns of a table.

    Raises:
        SourceError: one is missing.
    """
    if missing := [column for column in columns if column not in frame.columns]:
        raise SourceError(f"{label}: no column {missing[0]!r}; it has {list(frame.columns)}. Name its columns.")
    return frame[list(columns)]
