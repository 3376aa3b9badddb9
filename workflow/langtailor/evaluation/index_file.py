"""A user's index of document vectors, in place of encoding the documents by the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from langtailor.errors import SourceError

#: Columns of a Parquet file.
_COLUMNS = ("_id", "vector")


def read_index(path: Path, ids: Sequence[str], dimension: int) -> NDArray[np.float32]:
    """Vectors of documents.

    Args:
        path: a ``.npy`` file with a row a document, in their order; or a Parquet file with the columns ``_id`` and
            ``vector``, a list of numbers, in any order, which may hold further documents.
        ids: the documents' ids.
        dimension: length of a vector.

    Returns:
        float32, shape (documents, dimension), in the order of the ids.

    Raises:
        SourceError: the file cannot be read or has no such columns, a document is missing or there twice, or a vector has
            another length or is not finite.
    """
    try:
        vectors = np.load(path) if path.suffix == ".npy" else _parquet_vectors(path, ids)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceError(f"{path}: cannot be read as an index of vectors: {error}") from error
    if not np.issubdtype(vectors.dtype, np.floating):
        raise SourceError(f"{path}: holds {vectors.dtype}; vectors of floating-point numbers are expected")
    if vectors.shape != (len(ids), dimension):
        raise SourceError(
            f"{path}: has vectors of the shape {vectors.shape}; {len(ids)} documents in {dimension} dimensions are expected"
        )
    if not np.isfinite(vectors).all():
        raise SourceError(f"{path}: a vector has a number that is not finite")
    return np.asarray(vectors, dtype=np.float32)


def _parquet_vectors(path: Path, ids: Sequence[str]) -> NDArray[np.float32]:
    columns = pq.read_schema(path).names
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise SourceError(f"{path}: has no column `{missing[0]}`; found {', '.join(columns) or 'none'}")
    table = pq.read_table(path, columns=list(_COLUMNS))
    names = list(map(str, table["_id"].to_pylist()))
    rows = {name: row for row, name in enumerate(names)}
    if len(rows) < len(names):
        twice = next(name for row, name in enumerate(names) if rows[name] != row)
        raise SourceError(f"{path}: {twice!r} is there twice; keep one vector of each document")
    if missing := [name for name in ids if name not in rows]:
        raise SourceError(
            f"{path}: has no vector of {len(missing)} of {len(ids)} documents; the first is {missing[0]!r}"
        )
    vectors = table["vector"].take(pa.array([rows[name] for name in ids])).combine_chunks()
    return np.array(vectors.flatten(), dtype=np.float32).reshape(len(ids), -1)
