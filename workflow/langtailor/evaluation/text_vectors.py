"""Vectors of a task's own texts, which the teacher's evaluation leaves for those of the later models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from langtailor.errors import ArtifactError
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest

_KIND = "text vectors"
_SCHEMA = pa.schema([("list", pa.string()), ("vector", pa.large_list(pa.float32()))])


@dataclass(frozen=True)
class TextVectors:
    """Vectors of named lists of texts.

    Attributes:
        vectors: by list, float32, shape (texts, d).
        digests: by list, the digest of its texts.
    """

    vectors: Mapping[str, NDArray[np.float32]]
    digests: Mapping[str, str]

    @classmethod
    def of(cls, texts: Mapping[str, Sequence[str]], vectors: Mapping[str, NDArray[np.float32]]) -> Self:
        """Vectors with the texts that they are of, both by list."""
        return cls(vectors, {name: _digest(texts[name]) for name in vectors})

    def write(self, path: Path) -> None:
        """Write them as a Parquet artifact."""
        parts = [_part(name, rows) for name, rows in self.vectors.items()]
        tables.write_table(path, pa.concat_tables(parts), Manifest(_KIND, inputs=self.digests))

    @classmethod
    def read(cls, path: Path, texts: Mapping[str, Sequence[str]]) -> Self:
        """Inverse of :meth:`write`.

        Args:
            path: the file.
            texts: the texts by list, of which the vectors have to be.

        Raises:
            ArtifactError: the file is missing or damaged, or of other texts.
        """
        table, manifest = tables.read_table(path, _KIND, _SCHEMA)
        expected = {name: _digest(part) for name, part in texts.items()}
        if manifest.inputs != expected:
            raise ArtifactError(path, "contains vectors of other texts than those now in the task's files")
        dimension = len(table["vector"][0])
        rows = np.array(table["vector"].combine_chunks().flatten()).reshape(-1, dimension)
        ends = np.cumsum([len(part) for part in texts.values()])[:-1]
        return cls(dict(zip(texts, np.split(rows, ends), strict=True)), expected)


def verify_text_vectors(path: Path) -> None:
    """Check a file that :meth:`TextVectors.write` wrote.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    tables.read_table(path, _KIND, _SCHEMA)


def _part(name: str, rows: NDArray[np.float32]) -> pa.Table:
    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int64)
    vectors = pa.LargeListArray.from_arrays(offsets, rows.ravel())
    return pa.table({"list": [name] * len(rows), "vector": vectors}, schema=_SCHEMA)


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()
