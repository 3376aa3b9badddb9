"""A user's index of document vectors, in place of encoding the documents by the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
        vectors = _npy_vectors(path) if path.suffix.lower() == ".npy" else _parquet_vectors(path, ids)
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


def _npy_vectors(path: Path) -> NDArray[Any]:
    # np.load opens other kinds of files, too, whatever their suffix.
    with path.open("rb") as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


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
    if not _is_list_of_numbers(kind := table.schema.field("vector").type):
        raise SourceError(f"{path}: the column `vector` has values of the type {kind}; lists of numbers are expected")
    vectors = table["vector"].take(pa.array([rows[name] for name in ids])).combine_chunks()
    _refuse_other_lengths(pc.list_value_length(vectors).to_pylist(), ids, path)
    return np.array(vectors.flatten(), dtype=np.float32).reshape(len(ids), -1)


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    is_number = (pa.types.is_floating, pa.types.is_integer)
    return any(check(kind) for check in is_list) and any(check(kind.value_type) for check in is_number)


def _refuse_other_lengths(lengths: Sequence[int | None], ids: Sequence[str], path: Path) -> None:
    """Refuse vectors that could not be told apart once they stand in one row after another."""
    for name, length in zip(ids, lengths, strict=True):
        if length is None:
            raise SourceError(f"{path}: the vector of {name!r} is null")
        if length != lengths[0]:
            raise SourceError(
                f"{path}: the vector of {name!r} has {length} numbers, that of {ids[0]!r} has {lengths[0]}; all must have as "
                "many as the teacher has dimensions"
            )
