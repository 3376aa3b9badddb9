"""Candidates of queries and documents, which retrieval ranks, with the teacher's stored vectors of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from langtailor.errors import ArtifactError
from langtailor.models.length_batches import Rows
from langtailor.storage.tables import CANDIDATES, read_table
from langtailor.vectors.store import VectorStore

_KIND = "candidates"
#: Stands for the right candidate where none is known, and fills up shorter lists.
NONE = -1


@dataclass(frozen=True)
class Candidates:
    """Candidates of each passage of one side, queries or documents, of one language.

    Attributes:
        path: their file.
        ids: of the passages.
        rows: rows of the other side, the right one first; :data:`NONE` for none; int32, shape (n, k).
        vectors: the teacher's vectors of the other side.
    """

    path: Path
    ids: pa.Array
    rows: NDArray[np.int32]
    vectors: VectorStore

    @classmethod
    def read(cls, path: Path, split: str, other: Sequence[Path]) -> Self:
        """Those of the passages of a split.

        Args:
            path: ``retrieval/candidates/{lang}/{side}.parquet``.
            split: ``train`` or ``validation``.
            other: vector shards of the other side.

        Raises:
            ArtifactError: the file is damaged, or names a row that the other side does not have.
        """
        table, _ = read_table(path, _KIND, CANDIDATES, where=pc.field("split") == split)
        lists = table["candidates"].combine_chunks()
        lengths = np.diff(lists.offsets.to_numpy())
        rows = np.full((len(table), int(lengths.max(initial=1))), NONE, np.int32)
        rows[np.arange(rows.shape[1]) < lengths[:, None]] = lists.flatten().to_numpy()
        vectors = VectorStore.open(other, verify=False)
        if int(rows.max(initial=NONE)) >= len(vectors):
            raise ArtifactError(path, f"names row {rows.max()}, but there are {len(vectors):,} vectors")
        return cls(path, table["id"].combine_chunks(), rows, vectors)

    def wider(self, width: int) -> Self:
        """The same with lists of a length, filled up with :data:`NONE`."""
        missing = width - self.rows.shape[1]
        return replace(self, rows=np.pad(self.rows, ((0, 0), (0, missing)), constant_values=NONE))

    def take(self, rows: Rows) -> NDArray[np.float32]:
        """The teacher's vectors of the candidates of some passages; zeros where there is none; float32, shape (n, k, d)."""
        named = self.rows[rows]
        vectors = np.zeros((*named.shape, self.vectors.dimension), np.float32)
        there = named != NONE
        vectors[there] = self.vectors.take(named[there].astype(np.int64))
        return vectors

    def present(self, rows: Rows) -> NDArray[np.bool_]:
        """Which candidates of some passages there are; bool, shape (n, k)."""
        return np.asarray(self.rows[rows] != NONE)
