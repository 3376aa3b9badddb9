"""The teacher's vectors in shards, read by memory map.

A shard holds consecutive passages of one language's corpus, whatever their split. It is one uncompressed Arrow IPC file
(https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format) with a single record batch: passage id, split,
digest of what the teacher read, and the vector in float16. Being uncompressed and whole, its vectors are one contiguous
block that maps into memory as a matrix without being copied.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from langtailor.errors import ArtifactError
from langtailor.storage.artifacts import Manifest
from langtailor.storage.atomic import atomic_file
from langtailor.storage.checksums import matches_checksum
from langtailor.storage.tables import damage_named, manifest_of, with_manifest

_LOG = logging.getLogger("langtailor")
KIND = "vectors"
#: Kind of a folder with the shards of one job.
FOLDER_KIND = "vector shards"
DIGEST_BYTES = 16
#: Numbers that torch converts on one thread. Waking another takes as long as converting so many, and a hundred times as long
#: where another process has its core.
_ONE_THREAD = 32_767


@dataclass(frozen=True)
class VectorShard:
    """One shard, mapped into memory.

    Attributes:
        path: its file.
        ids: passage ids, in corpus order.
        splits: split of each passage.
        digests: what the teacher read for each passage, as :func:`text_digest` gives it.
        vectors: float16, shape (n, d), read-only, zero-copy.
        manifest: what made it.
    """

    path: Path
    ids: pa.StringArray
    splits: pa.StringArray
    digests: pa.FixedSizeBinaryArray
    vectors: NDArray[np.float16]
    manifest: Manifest

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> Self:
        """Map a shard.

        Args:
            path: the file.
            verify: compare the vectors with their checksum, which reads them once.

        Raises:
            ArtifactError: the file is missing, damaged or no shard.
        """
        with damage_named(path), pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            schema, batch = reader.schema, reader.get_batch(0)
        manifest = manifest_of(path, schema, KIND)
        dimension = int(manifest.facts["dimension"])
        if not schema.equals(_schema(dimension), check_metadata=False):
            raise ArtifactError(path, f"does not have the columns of a shard of vectors: {schema.names}")
        vectors = batch["vector"].flatten().to_numpy(zero_copy_only=True).reshape(-1, dimension)
        shard = cls(path, batch["id"], batch["split"], batch["text_digest"], vectors, manifest)
        # A job has hashed the whole file already.
        if verify and not matches_checksum(path) and shard.checksum() != manifest.facts["sha256"]:
            raise ArtifactError(path, "holds vectors that do not match their checksum")
        return shard

    def checksum(self) -> str:
        """SHA-256 over all columns, as the manifest has it."""
        return shard_checksum(self.ids, self.splits, self.digests, self.vectors)

    def only(self, split: str) -> VectorShard:
        """The part of the shard that belongs to one split: consecutive rows, still mapped and not copied."""
        rows = np.flatnonzero(pc.equal(self.splits, split).to_numpy(zero_copy_only=False))
        start, count = (int(rows[0]), len(rows)) if len(rows) else (0, 0)
        return replace(
            self,
            ids=self.ids.slice(start, count),
            splits=self.splits.slice(start, count),
            digests=self.digests.slice(start, count),
            vectors=self.vectors[start : start + count],
        )


@dataclass(frozen=True)
class VectorStore:
    """All shards of one language, or one split of them, as one matrix.

    Attributes:
        shards: the shards, in order.
        starts: int64, shape (shards + 1,): first row of each shard, and the number of rows.
    """

    shards: tuple[VectorShard, ...]
    starts: NDArray[np.int64]

    @classmethod
    def open(cls, paths: Sequence[Path], split: str | None = None, *, verify: bool = True) -> Self:
        """Map shards in order.

        Args:
            paths: all shards of a language.
            split: read only the passages of this split.
            verify: as for :meth:`VectorShard.open`.

        Raises:
            ArtifactError: a shard is damaged or was made by another teacher than the first.
        """
        shards = tuple(VectorShard.open(path, verify=verify) for path in paths)
        for shard in shards:
            if (shard.manifest.made_by, shard.manifest.inputs["teacher"]) != (
                shards[0].manifest.made_by,
                shards[0].manifest.inputs["teacher"],
            ):
                raise ArtifactError(shard.path, f"was made by another teacher or other settings than {shards[0].path}")
        if split is not None:
            shards = tuple(shard.only(split) for shard in shards)
        return cls(shards, np.cumsum([0, *(len(shard.ids) for shard in shards)], dtype=np.int64))

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def dimension(self) -> int:
        """Length of a vector; 0 for a store without shards."""
        return self.shards[0].vectors.shape[1] if self.shards else 0

    def made_by(self, model: str) -> bool:
        """Whether a model, by the digest of its folder, has made these vectors."""
        return all(shard.manifest.inputs["teacher"] == model for shard in self.shards)

    def holds(self, texts: Sequence[str], prompt: str) -> NDArray[np.bool_]:
        """For each row, whether the teacher has read this text after this prompt; bool, shape (n,)."""
        digests = pa.chunked_array([shard.digests for shard in self.shards], pa.binary(DIGEST_BYTES))
        return np.asarray(pc.equal(digests, text_digests(texts, prompt)).to_numpy(), np.bool_)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of some rows, in the order asked for.

        Args:
            rows: int64, shape (k,), each in 0 ... len - 1.

        Returns:
            float32, shape (k, d).
        """
        import torch

        selected = np.empty((len(rows), self.dimension), np.float16)
        for index, in_shard, shard_rows in self._rows_in_shards(rows):
            selected[in_shard] = self.shards[index].vectors.take(shard_rows, axis=0)
        # numpy converts float16 number by number; torch uses vector instructions.
        converted = np.empty(selected.shape, np.float32)
        piece = max(1, _ONE_THREAD // max(self.dimension, 1))
        for at in range(0, len(selected), piece):
            torch.from_numpy(converted[at : at + piece]).copy_(torch.from_numpy(selected[at : at + piece]))
        return converted

    def text_numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each of some rows a number of the text that the teacher read: the digest's first bytes, equal for equal texts.

        Args:
            rows: int64, shape (k,), each in 0 ... len - 1.

        Returns:
            int64, shape (k,).
        """
        numbers = np.empty(len(rows), np.int64)
        for index, in_shard, shard_rows in self._rows_in_shards(rows):
            digests = self.shards[index].digests
            first = digests.offset
            words = np.frombuffer(digests.buffers()[1], np.int64).reshape(-1, DIGEST_BYTES // 8)
            numbers[in_shard] = words[first + shard_rows, 0]
        return numbers

    def _rows_in_shards(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Each shard that some rows are in, which of the rows these are, and their places in the shard."""
        shard_of_row = np.searchsorted(self.starts, rows, side="right") - 1
        for index in np.unique(shard_of_row).tolist():
            in_shard = np.flatnonzero(shard_of_row == index)
            yield index, in_shard, rows[in_shard] - self.starts[index]

    def check_ids(self, ids: pa.Array | pa.ChunkedArray) -> None:
        """Refuse a store whose passages are not these, row by row.

        Args:
            ids: passage ids of the split, in corpus order.

        Raises:
            ArtifactError: names the first shard and row that differ.
        """
        expected = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        if len(expected) != len(self):
            last = self.shards[-1].path if self.shards else Path("vectors")
            raise ArtifactError(last, f"completes a store of {len(self):,} vectors for {len(expected):,} passages")
        for shard, start in zip(self.shards, self.starts[:-1].tolist(), strict=True):
            _check_equal(shard.path, "passage id", expected.slice(start, len(shard.ids)), shard.ids)

    def check_texts(self, passages: pa.Table) -> None:
        """Refuse a store whose teacher read other texts than these, row by row.

        Args:
            passages: rows of the corpus, as for :meth:`check_ids`, with the columns ``text`` and ``pair``.

        Raises:
            ArtifactError: names the first shard and row that differ.
        """
        for shard, start in zip(self.shards, self.starts[:-1].tolist(), strict=True):
            reads, prompt = shard.manifest.made_by["reads"], shard.manifest.made_by["prompt"]
            texts = texts_read(passages.slice(start, len(shard.ids)), reads)
            _check_equal(shard.path, "text", text_digests(texts, prompt), shard.digests)


def write_shard(
    out: Path,
    ids: pa.StringArray,
    splits: pa.StringArray,
    digests: pa.FixedSizeBinaryArray,
    vectors: NDArray[np.float16],
    manifest: Manifest,
) -> None:
    """Write a shard.

    Args:
        out: its file.
        ids: passage ids.
        splits: split of each passage.
        digests: what the teacher read for each passage, as :func:`text_digest` gives it.
        vectors: float16, shape (n, d).
        manifest: what made it; number of rows, dimension and checksum are added to its facts.
    """
    rows, dimension = vectors.shape
    checksum = shard_checksum(ids, splits, digests, vectors)
    facts = {**manifest.facts, "rows": rows, "dimension": dimension, "sha256": checksum}
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float16()), dimension)
    columns = [ids, splits, digests, column]
    table = with_manifest(pa.table(columns, schema=_schema(dimension)), replace(manifest, facts=facts))
    with atomic_file(out) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=table.schema))


def text_digest(text: str) -> bytes:
    """Digest (16 bytes) of what the teacher read for a passage, the prompt included."""
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


def texts_read(passages: pa.Table, reads: str) -> list[str]:
    """What the teacher reads of each passage: its text, or its aligned text where it has one and ``reads`` says so."""
    texts: list[str] = passages["text"].to_pylist()
    if reads == "text":
        return texts
    return [pair or text for text, pair in zip(texts, passages["pair"].to_pylist(), strict=True)]


def text_digests(texts: Sequence[str], prompt: str) -> pa.FixedSizeBinaryArray:
    """Digest of each text as the teacher reads it, after the prompt; see :func:`text_digest`."""
    return pa.array([text_digest(prompt + text) for text in texts], pa.binary(DIGEST_BYTES))


def _schema(dimension: int) -> pa.Schema:
    return pa.schema(
        [
            ("id", pa.string()),
            ("split", pa.string()),
            ("text_digest", pa.binary(DIGEST_BYTES)),
            ("vector", pa.list_(pa.float16(), dimension)),
        ]
    )


def shard_checksum(ids: pa.Array, splits: pa.Array, digests: pa.Array, vectors: NDArray[np.float16]) -> str:
    """SHA-256 over all columns of a shard."""
    digest = hashlib.sha256()
    for row in zip(ids.to_pylist(), splits.to_pylist(), digests.to_pylist(), strict=True):
        digest.update(b"%s %s %s\n" % (row[0].encode(), row[1].encode(), row[2]))
    digest.update(np.ascontiguousarray(vectors).reshape(-1).data)
    return digest.hexdigest()


def _check_equal(path: Path, what: str, expected: pa.Array, stored: pa.Array) -> None:
    if expected.equals(stored):
        return
    pairs = zip(expected.to_pylist(), stored.to_pylist(), strict=False)
    row = next((row for row, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(stored)))
    raise ArtifactError(path, f"was made from another corpus: the {what} of row {row} differs")
