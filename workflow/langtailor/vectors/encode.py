"""Computing the teacher's vectors once, shard by shard.

The rows of a corpus are in the order train, validation, test, and raising all quotas by one ratio only appends to each
split. So all full shards of training passages stay as they are. Snakemake cannot know this: it deletes the shards of a
changed corpus and runs their jobs again. Each shard therefore has a second name (a hard link) in the *shard cache*, a
folder that no rule declares, and is reused from there when teacher, settings, code and passages are the same.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from langtailor.config.base import SPLITS
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import VectorSettings
from langtailor.corpus.reading import read_rows
from langtailor.errors import ArtifactError, LangtailorError
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_teacher
from langtailor.models.prompts import find_prompt
from langtailor.storage.artifacts import Manifest, canonical_json, directory_digest, read_manifest
from langtailor.storage.code_digest import module_digest
from langtailor.vectors.store import DIGEST_BYTES, KIND, VectorShard, text_digests, texts_read, write_shard

_LOG = logging.getLogger("langtailor")


def encode_shard(
    corpus: Path,
    shard: int,
    teacher: Path,
    teacher_settings: TeacherSettings,
    settings: VectorSettings,
    device: str,
    out: Path,
    cache: Path | None = None,
    splits: Sequence[str] = SPLITS,
) -> None:
    """Compute and store the vectors of one shard, or reuse the shard from the cache where it would be the same.

    Args:
        corpus: ``corpus/{lang}.parquet``.
        shard: its number; it holds the rows from ``shard * settings.shard_passages`` on. A shard past the end of a
            short corpus is empty.
        teacher: the teacher's folder.
        teacher_settings: prompt, length limit and precision of the teacher.
        settings: size of shards and batches.
        device: ``cpu`` or ``cuda``.
        out: the shard's file.
        cache: the language's shard cache, a folder on the same disk; ``None`` keeps none.
        splits: the splits whose passages are encoded; the shard holds no others.

    Raises:
        LangtailorError: a vector does not fit float16 or is not finite.
    """
    from langtailor.models.encoder import Encoder

    _LOG.info("reading the passages of %s", corpus.stem)
    manifest = read_manifest(teacher, "teacher")
    info = ModelInfo.read(teacher)
    table = read_rows(corpus, shard * settings.shard_passages, settings.shard_passages)
    table = table.filter(pc.is_in(table["split"], value_set=pa.array(splits)))
    texts, prompt = texts_read(table, teacher_settings.reads), find_prompt(info, teacher_settings.prompt)
    ids, split_of_row = (pa.array(table[name].to_pylist(), pa.string()) for name in ("id", "split"))
    digests = text_digests(texts, prompt)
    made_by = teacher_settings.model_dump(mode="json") | {
        "prompt": prompt,
        "pooling": info.pooling,
        "max_length": teacher_settings.max_length or info.max_length,
    }
    inputs = {"teacher": directory_digest(teacher), "commit": manifest.inputs.get("commit"), "shard": shard}
    cached = None if cache is None else _CachedShard.of(cache, shard, made_by, inputs, settings)
    if cached is not None and cached.reuse(out, [ids, split_of_row, digests]):
        _LOG.info("reused from the shard cache: %s passages", f"{len(texts):,}")
        return
    vectors, tokens, padding = np.empty((0, info.dimension), np.float16), 0, 0.0
    if texts:
        encoder = Encoder(load_teacher(teacher, teacher_settings, device), prompt, settings.batch_tokens)
        vectors = _to_float16(encoder.encode(texts, f"encoding {corpus.stem}/{shard:05d}"), out)
        tokens, padding = encoder.tokens, round(encoder.padding_share, 4)
        _LOG.info("%s passages, %s tokens, %.1f %% padding", f"{len(texts):,}", f"{tokens:,}", 100 * padding)
    facts = {"tokens": tokens, "padding_share": padding}
    write_shard(out, ids, split_of_row, digests, vectors, Manifest(KIND, made_by, inputs, facts))
    if cached is not None:
        cached.store(out)


@dataclass(frozen=True)
class _CachedShard:
    """A shard's entry in the cache; its name holds a digest of what made it.

    Attributes:
        path: the entry.
        others: pattern of the entries of the same shard made by something else.
    """

    path: Path
    others: str

    @classmethod
    def of(
        cls, folder: Path, shard: int, made_by: dict[str, Any], inputs: dict[str, Any], settings: VectorSettings
    ) -> Self:
        """The entry for this teacher, these settings and this code."""
        made_from = canonical_json([made_by, inputs, settings.batch_tokens, module_digest("vectors.encode")])
        key = hashlib.blake2b(made_from.encode(), digest_size=DIGEST_BYTES).hexdigest()
        return cls(folder / f"{shard:05d}.{key}.arrow", f"{shard:05d}.*.arrow")

    def reuse(self, out: Path, passages: list[pa.Array]) -> bool:
        """Link the cached shard to its place, if there is an intact one of these ids, splits and digests."""
        try:
            shard = VectorShard.open(self.path)
        except ArtifactError:
            return False
        cached = [shard.ids, shard.splits, shard.digests]
        if not all(column.equals(expected) for column, expected in zip(cached, passages, strict=True)):
            return False
        out.parent.mkdir(parents=True, exist_ok=True)
        out.unlink(missing_ok=True)
        out.hardlink_to(self.path)
        os.utime(out)  # newer than the corpus, as a shard made now would be
        return True

    def store(self, out: Path) -> None:
        """Enter a new shard, in place of its predecessors."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for other in self.path.parent.glob(self.others):
            other.unlink()
        try:
            self.path.hardlink_to(out)
        except OSError as error:
            _LOG.info("%s is not cached for later runs: the file system has no hard links (%s)", out, error)


def _to_float16(vectors: NDArray[np.float32], out: Path) -> NDArray[np.float16]:
    largest = float(np.abs(vectors).max())
    if not largest < float(np.finfo(np.float16).max):
        raise LangtailorError(
            f"{out}: the teacher gave a vector with the value {largest}, which float16 cannot hold; "
            "check teacher.dtype (some models overflow outside float32 and bfloat16)"
        )
    return vectors.astype(np.float16)
