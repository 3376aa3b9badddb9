"""The teacher's vectors: computed once, stored in shards, read by memory map.

A shard holds consecutive passages of one language's corpus, whatever their split. As the corpus stands in the order
train, validation, test, and a raised quota only appends to a split, such a quota leaves all full shards of training
passages as they are.

A shard is one uncompressed Arrow IPC file (https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format) with a
single record batch: passage id, split, digest of what the teacher read, and the vector in float16. Being uncompressed
and whole, its vectors are one contiguous block that maps into memory as a matrix without being copied.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from langtailor.artifacts import Manifest, atomic_file, directory_digest, sha256_bytes
from langtailor.config import TeacherSettings, VectorSettings
from langtailor.corpus import read_corpus
from langtailor.errors import ArtifactError, LangtailorError
from langtailor.progress import Progress
from langtailor.tables import manifest_of, with_manifest
from langtailor.teacher import TeacherInfo, load_teacher, resolve_prompt

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")
_KIND = "vectors"
_DIGEST_BYTES = 16
#: Passages that are sorted by length together, and those of them that are tokenized (and padded) together: the
#: first saves padding, the second bounds memory.
_WINDOW = 8_192
_TOKENIZED_TOGETHER = 1_024

#: A batch ends at texts shorter than this share of its longest, once it has enough rows to keep a device busy.
_SIMILAR_LENGTH = 0.8
_FEWEST_ROWS = 32

Features = dict[str, Any]
Forward = Callable[[Features], "torch.Tensor"]


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
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
                schema, batch = reader.schema, reader.get_batch(0)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise ArtifactError(path, f"is missing or damaged ({error})") from error
        manifest = manifest_of(path, schema, _KIND)
        dimension = int(manifest.facts["dimension"])
        if not schema.equals(_schema(dimension), check_metadata=False):
            raise ArtifactError(path, f"has other columns than a shard of vectors: {schema.names}")
        vectors = batch["vector"].flatten().to_numpy(zero_copy_only=True).reshape(-1, dimension)
        if verify and _checksum(batch["id"], batch["split"], batch["text_digest"], vectors) != manifest.facts["sha256"]:
            raise ArtifactError(path, "holds vectors that do not match their checksum")
        return cls(path, batch["id"], batch["split"], batch["text_digest"], vectors, manifest)

    def only(self, split: str) -> VectorShard:
        """The part of the shard that belongs to one split: consecutive rows, still mapped and not copied."""
        mine = np.flatnonzero(pc.equal(self.splits, split).to_numpy(zero_copy_only=False))
        start, count = (int(mine[0]), len(mine)) if len(mine) else (0, 0)
        return replace(
            self,
            ids=self.ids.slice(start, count),
            splits=self.splits.slice(start, count),
            digests=self.digests.slice(start, count),
            vectors=self.vectors[start : start + count],
        )


@dataclass(frozen=True)
class VectorStore:
    """All shards of one language, or one split of them, read as one matrix.

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

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of some rows, in the order asked for.

        Args:
            rows: int64, shape (k,), each in 0 ... len - 1.

        Returns:
            float32, shape (k, d).
        """
        taken = np.empty((len(rows), self.dimension), dtype=np.float32)
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for index in np.unique(owner):
            mine = owner == index
            taken[mine] = self.shards[index].vectors[rows[mine] - self.starts[index]]
        return taken

    def check_ids(self, ids: pa.Array | pa.ChunkedArray) -> None:
        """Refuse a store whose passages are not these, row by row.

        Args:
            ids: passage ids of the split, in corpus order.

        Raises:
            ArtifactError: names the first shard and row that differ.
        """
        expected = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        if len(expected) != len(self):
            place = self.shards[-1].path if self.shards else Path("vectors")
            raise ArtifactError(place, f"ends a store of {len(self):,} vectors for {len(expected):,} passages")
        for shard, start in zip(self.shards, self.starts[:-1].tolist(), strict=True):
            _check_equal(shard.path, "passage id", expected.slice(start, len(shard.ids)), shard.ids)

    def check_texts(self, texts: Sequence[str]) -> None:
        """Refuse a store whose teacher read other texts than these (prompt included), row by row."""
        digests = pa.array([text_digest(text) for text in texts], pa.binary(_DIGEST_BYTES))
        for shard, start in zip(self.shards, self.starts[:-1].tolist(), strict=True):
            _check_equal(shard.path, "text", digests.slice(start, len(shard.ids)), shard.digests)


def encode_shard(
    corpus: Path,
    shard: int,
    teacher: Path,
    teacher_settings: TeacherSettings,
    settings: VectorSettings,
    device: str,
    out: Path,
) -> None:
    """Compute and store the vectors of one shard.

    Args:
        corpus: ``corpus/{lang}.parquet``.
        shard: its number; it holds the rows from ``shard * settings.shard_passages``. A shard past the end of a short
            language holds none.
        teacher: the teacher's folder.
        teacher_settings: how the teacher reads.
        settings: size of shards and batches.
        device: ``cpu`` or ``cuda``.
        out: the shard's file.

    Raises:
        LangtailorError: a vector does not fit float16 or is not finite.
    """
    table = read_corpus(corpus, columns=["id", "split", "text", "pair"])
    table = table.slice(shard * settings.shard_passages, settings.shard_passages)
    info = TeacherInfo.read(teacher)
    texts = texts_read(table, teacher_settings)
    prompt = resolve_prompt(info, teacher_settings)
    vectors, tokens = np.empty((0, info.dimension), np.float16), 0
    if texts:
        encoder = Encoder(load_teacher(teacher, teacher_settings, device), prompt, settings.batch_tokens)
        vectors = _to_float16(encoder.encode(texts, f"encoding {corpus.stem}/{shard:05d}"), out)
        tokens = encoder.tokens
        _LOG.info("%s tokens, %.1f %% of them padding", f"{tokens:,}", 100 * encoder.padding_share)
    ids, splits = table["id"].combine_chunks(), table["split"].combine_chunks()
    digests = pa.array([text_digest(prompt + text) for text in texts], pa.binary(_DIGEST_BYTES))
    manifest = Manifest(
        _KIND,
        made_by=teacher_settings.model_dump(mode="json") | {"prompt": prompt},
        inputs={"teacher": directory_digest(teacher), "shard": shard},
        facts={
            "rows": len(texts),
            "dimension": info.dimension,
            "tokens": tokens,
            "sha256": _checksum(ids, splits, digests, vectors),
        },
    )
    _write(out, [ids, splits, digests], vectors, manifest)


class Encoder:
    """Runs a sentence-transformers model over texts of mixed length with little padding.

    Texts are tokenized once, sorted by length inside a window, and cut into batches of about equal numbers of tokens.
    The model's own modules do the rest, so that any stack of them (pooling modes, Dense, Normalize) gives what
    ``SentenceTransformer.encode`` gives.

    Args:
        model: the model, on its device.
        prompt: put before each text.
        batch_tokens: most tokens, padding included, in one forward pass.
        forward: maps features to sentence vectors; the model itself unless a test says otherwise.
    """

    def __init__(
        self, model: SentenceTransformer, prompt: str, batch_tokens: int, forward: Forward | None = None
    ) -> None:
        self.model, self.prompt, self.batch_tokens = model, prompt, batch_tokens
        self._forward = forward or (lambda features: model(features)["sentence_embedding"])
        #: Tokens encoded so far, and the places that batches gave them.
        self.tokens = self._places = 0
        self._dimension = int(model.get_embedding_dimension() or 0)

    @property
    def padding_share(self) -> float:
        """Share of the places of all batches that held padding."""
        return 1 - self.tokens / self._places if self._places else 0.0

    def encode(self, texts: Sequence[str], label: str) -> NDArray[np.float32]:
        """Vectors of the texts, in their order: float32, shape (n, d)."""
        starts = range(0, len(texts), _WINDOW)
        with Progress(label, len(texts), "passage") as progress:
            return np.concatenate([self._encode_window(texts[s : s + _WINDOW], progress) for s in starts])

    def _encode_window(self, texts: Sequence[str], progress: Progress) -> NDArray[np.float32]:
        # Longest first: too large a batch shows at once. The sort is stable, so that reruns batch alike.
        order = np.argsort([-len(text) for text in texts], kind="stable")
        found = np.empty((len(texts), self._dimension), dtype=np.float32)
        for start in range(0, len(texts), _TOKENIZED_TOGETHER):
            group = order[start : start + _TOKENIZED_TOGETHER]
            features = self._tokenize([texts[row] for row in group])
            sizes = features["attention_mask"].sum(dim=1).numpy()
            # Now by tokens, which characters only foretold.
            by_tokens = np.argsort(-sizes, kind="stable")
            for part in _batches(sizes[by_tokens], self.batch_tokens):
                rows = by_tokens[part]
                found[group[rows]] = self._run(features, rows, int(sizes[rows[0]]))
                self.tokens += int(sizes[rows].sum())
                progress.update(len(rows), f"{self.tokens:,} tokens")
        return found

    def _tokenize(self, texts: list[str]) -> Features:
        # The model's own preprocessing: prompt, truncation, and the features that its modules expect.
        features = self.model.preprocess(texts, prompt=self.prompt or None)
        return dict(features)

    def _run(self, features: Features, rows: NDArray[np.int64], width: int) -> NDArray[np.float32]:
        """Vectors of some rows, in halves where the device has too little memory for all."""
        import torch

        try:
            with torch.inference_mode():
                batch = _cut(features, rows, width, self.model)
                self._places += len(rows) * width
                vectors = self._forward(batch).float().cpu().numpy()
                return np.asarray(vectors, dtype=np.float32)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise LangtailorError(
                    f"the device has too little memory for one passage of {width} tokens; lower teacher.max_length"
                ) from None
            self._places -= len(rows) * width
            self.batch_tokens = max(width, self.batch_tokens // 2)
            _LOG.warning("out of memory: going on with %s tokens in a batch", f"{self.batch_tokens:,}")
            torch.cuda.empty_cache()
        half = len(rows) // 2
        return np.concatenate([self._run(features, part, width) for part in (rows[:half], rows[half:])])


def texts_read(table: pa.Table, settings: TeacherSettings) -> list[str]:
    """What the teacher reads of each passage: its text, or its aligned text where there is one and settings say so."""
    texts: list[str] = table["text"].to_pylist()
    if settings.reads == "text":
        return texts
    return [pair or text for text, pair in zip(texts, table["pair"].to_pylist(), strict=True)]


def text_digest(text: str) -> bytes:
    """Digest (16 bytes) of what the teacher read for a passage."""
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def _batches(sizes: NDArray[np.int64], budget: int) -> Iterator[slice]:
    """Cut texts, longest first, into runs of similar length whose padded size stays within the budget."""
    start = 0
    while start < len(sizes):
        longest = max(int(sizes[start]), 1)
        similar = int(np.searchsorted(-sizes, -_SIMILAR_LENGTH * longest, side="right"))
        end = min(start + max(1, budget // longest), max(similar, start + _FEWEST_ROWS))
        yield slice(start, end)
        start = end


def _cut(features: Features, rows: NDArray[np.int64], width: int, model: SentenceTransformer) -> Features:
    """The features of some rows, without the columns that are padding in all of them, on the model's device."""
    import torch

    index = torch.from_numpy(rows)
    left = model.tokenizer.padding_side == "left"
    total = features["attention_mask"].shape[1]
    batch: Features = {}
    for name, value in features.items():
        if not isinstance(value, torch.Tensor):
            batch[name] = value
        elif value.ndim == 2 and value.shape[1] == total:
            columns = slice(total - width, total) if left else slice(0, width)
            batch[name] = _to_device(value[index, columns], model.device)
        elif value.ndim and value.shape[0] == features["attention_mask"].shape[0]:
            batch[name] = _to_device(value[index], model.device)
        else:
            batch[name] = _to_device(value, model.device)
    return batch


def _to_device(value: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type != "cuda":
        return value.to(device)
    # Pinned memory lets the copy run while the device still computes.
    return value.pin_memory().to(device, non_blocking=True)


def _to_float16(vectors: NDArray[np.float32], out: Path) -> NDArray[np.float16]:
    largest = float(np.abs(vectors).max())
    if not largest < float(np.finfo(np.float16).max):
        raise LangtailorError(
            f"{out}: the teacher gave a vector with the value {largest}, which float16 cannot hold; "
            "check teacher.dtype (some models overflow outside float32 and bfloat16)"
        )
    return vectors.astype(np.float16)


def _schema(dimension: int) -> pa.Schema:
    return pa.schema(
        [
            ("id", pa.string()),
            ("split", pa.string()),
            ("text_digest", pa.binary(_DIGEST_BYTES)),
            ("vector", pa.list_(pa.float16(), dimension)),
        ]
    )


def _write(out: Path, columns: list[pa.Array], vectors: NDArray[np.float16], manifest: Manifest) -> None:
    dimension = vectors.shape[1]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float16()), dimension)
    schema = with_manifest(pa.table([*columns, column], schema=_schema(dimension)), manifest).schema
    batch = pa.RecordBatch.from_arrays([*columns, column], schema=schema)
    with (
        atomic_file(out) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        writer.write_batch(batch)


def _checksum(ids: pa.Array, splits: pa.Array, digests: pa.Array, vectors: NDArray[np.float16]) -> str:
    columns = (column.to_pylist() for column in (ids, splits, digests))
    rows = "\n".join(f"{i} {s} {d.hex()}" for i, s, d in zip(*columns, strict=True))
    return sha256_bytes(rows.encode() + np.ascontiguousarray(vectors).tobytes())


def _check_equal(path: Path, what: str, expected: pa.Array, found: pa.Array) -> None:
    if expected.equals(found):
        return
    pairs = zip(expected.to_pylist(), found.to_pylist(), strict=False)
    row = next((row for row, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
    raise ArtifactError(path, f"was made from another corpus: the {what} of row {row} differs")
