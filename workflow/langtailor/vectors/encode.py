"""Computing the teacher's vectors once, in jobs of many shards.

A job loads the teacher once and reads each distinct text once: a text that an earlier shard of the job has, such as the
English side of a parallel corpus in each of its languages, is not encoded again.

The rows of a corpus are in the order train, validation, test, and raising all quotas by one ratio only appends to each
split. So all full shards of training passages stay as they are. Snakemake cannot know this: it deletes what a changed
corpus went into and runs its jobs again. Each shard therefore has a second name (a hard link) in the *shard cache*, a
folder that no rule declares, and is reused from there when teacher, settings, code and passages are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from langtailor.config.base import SPLITS
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import Shard
from langtailor.corpus.reading import read_rows
from langtailor.errors import ArtifactError, LangtailorError
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_teacher
from langtailor.storage.artifacts import Manifest, atomic_directory, directory_digest, read_manifest
from langtailor.storage.cache import CacheEntry
from langtailor.storage.code_digest import module_digest
from langtailor.storage.digests import sha256_bytes
from langtailor.vectors.origin import reading_settings
from langtailor.vectors.store import (
    FOLDER_KIND,
    KIND,
    VectorShard,
    shard_checksum,
    text_digests,
    texts_read,
    write_shard,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")


def encode_shards(
    shards: Sequence[Shard],
    corpora: Mapping[str, Path],
    teacher: Path,
    teacher_settings: TeacherSettings,
    batch_tokens: int,
    device: str,
    out: Path,
    cache: Path | None = None,
    splits: Sequence[str] = SPLITS,
    published: Mapping[str, Path] | None = None,
) -> None:
    """Compute and store the vectors of some shards, or reuse them from the cache where they would be the same.

    Args:
        shards: what to encode, in this order. A shard past the end of a short corpus is empty.
        corpora: ``corpus/{lang}.parquet`` by language.
        teacher: the teacher's folder.
        teacher_settings: prompts, length limit and precision of the teacher.
        batch_tokens: most tokens of a forward pass.
        device: ``cpu`` or ``cuda``.
        out: the folder (kind ``vector shards``): ``{lang}/{number}.arrow``.
        cache: the shard cache, a folder on the same disk; ``None`` keeps none.
        splits: the splits whose passages are encoded; the shards hold no others.
        published: file of published vectors by language (:mod:`langtailor.vectors.published`), which are used.

    Raises:
        ArtifactError: the teacher, a corpus or a file of published vectors is missing or damaged.
        LangtailorError: a vector does not fit float16 or is not finite.
    """
    languages = dict.fromkeys(shard.lang for shard in shards)
    reading = _Reading(teacher, teacher_settings, languages, batch_tokens, device, published or {})
    total = 0
    with atomic_directory(out, Manifest(FOLDER_KIND, {"reading": reading.made_by}, reading.inputs)) as folder:
        for shard in shards:
            _LOG.info("reading the passages of %s", shard.name)
            table = read_rows(corpora[shard.lang], shard.start, shard.rows)
            passages = reading.passages(table.filter(pc.is_in(table["split"], value_set=pa.array(splits))), shard.lang)
            file = folder / f"{shard.name}.arrow"
            entry = None if cache is None else _cached(cache, shard, reading, passages)
            if entry is not None and _reuse(entry, file, passages.columns):
                _LOG.info("reused from the shard cache: %s passages", f"{len(passages.ids):,}")
            else:
                vectors, facts = reading.encode(passages, shard)
                made = Manifest(KIND, reading.made_by[shard.lang], {**reading.inputs, "shard": shard.number}, facts)
                write_shard(file, passages.ids, passages.splits, passages.digests, vectors, made)
                if entry is not None:
                    _store(entry, file)
            reading.remember(passages.digests, VectorShard.open(file, verify=False).vectors)
            total += len(passages.ids)
    _LOG.info("vectors of %s passages in %d shards", f"{total:,}", len(shards))


@dataclass(frozen=True)
class _Passages:
    """The passages of one shard.

    Attributes:
        ids: passage ids.
        splits: their splits.
        digests: digests of what the teacher reads.
        rows: for each passage, where its vector is: a row of ``reused``, then one of those of ``new``.
        reused: vectors, float16, shape (k, d), that an earlier shard has.
        new: the distinct texts that no earlier shard has.
    """

    ids: pa.StringArray
    splits: pa.StringArray
    digests: pa.FixedSizeBinaryArray
    rows: NDArray[np.int64]
    reused: NDArray[np.float16]
    new: list[str]

    @property
    def columns(self) -> list[pa.Array]:
        """What says whose vectors a shard holds."""
        return [self.ids, self.splits, self.digests]

    def key(self) -> list[str]:
        """What the bytes of the shard depend on besides its texts: what is encoded together, and published vectors."""
        return [sha256_bytes("\0".join(self.new).encode()), sha256_bytes(np.ascontiguousarray(self.reused).data)]


class _Reading:
    """The teacher, which is loaded when first needed, and the vectors that it has made in this job.

    Attributes:
        made_by: by language, the settings that a vector depends on.
        inputs: which teacher it is.
        batch_tokens: most tokens of a forward pass.
    """

    def __init__(
        self,
        teacher: Path,
        settings: TeacherSettings,
        languages: Iterable[str],
        batch_tokens: int,
        device: str,
        published: Mapping[str, Path],
    ) -> None:
        manifest = read_manifest(teacher, "teacher")
        self._teacher, self._settings, self._device = teacher, settings, device
        self._dimension = ModelInfo.read(teacher).dimension
        self.made_by = {lang: reading_settings(teacher, settings.for_language(lang)) for lang in languages}
        self.batch_tokens = batch_tokens
        self.inputs = {"teacher": directory_digest(teacher), "commit": manifest.inputs.get("commit")}
        self._vectors: dict[bytes, NDArray[np.float16]] = {}
        self._published = {lang: VectorShard.open(path) for lang, path in published.items()}

    @cached_property
    def _model(self) -> SentenceTransformer:
        return load_teacher(self._teacher, self._settings, self._device)

    def _prompt(self, lang: str) -> str:
        return str(self.made_by[lang]["prompt"])

    def passages(self, table: pa.Table, lang: str) -> _Passages:
        """The passages of a shard, and which of them are still to be encoded."""
        texts = texts_read(table, self._settings.reads)
        ids, splits = (pa.array(table[name].to_pylist(), pa.string()) for name in ("id", "split"))
        digests = text_digests(texts, self._prompt(lang))
        self._take_over(lang, digests)
        names = digests.to_pylist()
        reused = [name for name in dict.fromkeys(names) if name in self._vectors]
        new = {name: text for name, text in zip(names, texts, strict=True) if name not in self._vectors}
        row = {name: number for number, name in enumerate([*reused, *new])}
        vectors = np.array([self._vectors[name] for name in reused], np.float16).reshape(-1, self._dimension)
        rows = np.array([row[name] for name in names], np.int64)
        return _Passages(ids, splits, digests, rows, vectors, list(new.values()))

    def _take_over(self, lang: str, digests: pa.FixedSizeBinaryArray) -> None:
        """Keep the published vectors of some texts."""
        if (published := self._published.get(lang)) is not None:
            rows = np.flatnonzero(pc.is_in(published.digests, value_set=digests).to_numpy(zero_copy_only=False))
            self.remember(published.digests.take(pa.array(rows)), published.vectors[rows])

    def encode(self, passages: _Passages, shard: Shard) -> tuple[NDArray[np.float16], dict[str, Any]]:
        """Vectors of the passages, float16 of shape (n, d), with the facts of what was encoded for them."""
        from langtailor.models.encoder import Encoder

        if not passages.new:
            vectors = passages.reused[passages.rows]
            return vectors, self._facts_of_no_text(passages, vectors, shard.lang)
        label = shard.name
        encoder = Encoder(self._model, self._prompt(shard.lang), self.batch_tokens)
        vectors = _to_float16(encoder.encode(passages.new, f"encoding {label}"), label)
        _LOG.info(
            "%s passages, %s distinct texts, %s tokens, %.1f %% padding",
            *(f"{count:,}" for count in (len(passages.ids), len(passages.new), encoder.tokens)),
            100 * encoder.padding_share,
        )
        facts = {"tokens": encoder.tokens, "padding_share": round(encoder.padding_share, 4)}
        return np.concatenate([passages.reused, vectors])[passages.rows], facts

    def _facts_of_no_text(self, passages: _Passages, vectors: NDArray[np.float16], lang: str) -> dict[str, Any]:
        """Those of a shard for which nothing was encoded: where it comes out as one that was published, the facts of that."""
        published = self._published.get(lang)
        facts = {} if published is None else published.manifest.facts["shards"]
        checksum = shard_checksum(passages.ids, passages.splits, passages.digests, vectors)
        return dict(facts.get(checksum, {"tokens": 0, "padding_share": 0.0}))

    def remember(self, digests: pa.FixedSizeBinaryArray, vectors: NDArray[np.float16]) -> None:
        """Keep a finished shard's vectors, which are mapped and not copied, for the texts that later shards share."""
        for name, vector in zip(digests.to_pylist(), vectors, strict=True):
            self._vectors.setdefault(name, vector)


def _cached(cache: Path, shard: Shard, reading: _Reading, passages: _Passages) -> CacheEntry:
    """The cache's entry for this teacher, these settings, this code and these passages."""
    code, inputs = module_digest("vectors.encode"), {**reading.inputs, "shard": shard.number}
    made_from = [reading.made_by[shard.lang], inputs, reading.batch_tokens, code, passages.key()]
    return CacheEntry.of(cache / f"{shard.name}.arrow", made_from)


def _reuse(entry: CacheEntry, out: Path, passages: list[pa.Array]) -> bool:
    """Link the cached shard to its place, if there is an intact one of these ids, splits and digests."""
    try:
        shard = VectorShard.open(entry.path)
    except ArtifactError:
        return False
    cached = [shard.ids, shard.splits, shard.digests]
    if not all(column.equals(expected) for column, expected in zip(cached, passages, strict=True)):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    out.hardlink_to(entry.path)
    return True


def _store(entry: CacheEntry, out: Path) -> None:
    """Enter a new shard, in place of its predecessors."""
    entry.make_room()
    try:
        entry.path.hardlink_to(out)
    except OSError as error:
        _LOG.info("%s is not cached for later runs: the file system has no hard links (%s)", out, error)


def _to_float16(vectors: NDArray[np.float32], label: str) -> NDArray[np.float16]:
    largest = float(np.abs(vectors).max())
    if not largest < float(np.finfo(np.float16).max):
        raise LangtailorError(
            f"{label}: the teacher gave a vector with the value {largest}, which float16 cannot hold; "
            "check teacher.dtype (some models overflow outside float32 and bfloat16)"
        )
    return vectors.astype(np.float16)
