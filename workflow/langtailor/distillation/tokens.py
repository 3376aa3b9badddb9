"""Token ids of every passage, computed once with the student's tokenizer: ``distillation/{variant}/tokens/{lang}.arrow``.

An uncompressed Arrow IPC file (https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format) of the kind
``tokens``. Training maps it into memory and reads a row's ids where they lie.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from langtailor.config.teacher import TeacherSettings
from langtailor.corpus.reading import split_counts, stream_rows
from langtailor.errors import ArtifactError, UnsupportedTokenizerError
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_sentence_transformer
from langtailor.models.prompts import find_prompt
from langtailor.progress import Progress
from langtailor.storage.artifacts import Manifest
from langtailor.storage.atomic import atomic_file, scratch_directory
from langtailor.storage.batching import batched
from langtailor.storage.checksums import matches_checksum
from langtailor.storage.digests import sha256_file
from langtailor.storage.tables import TOKENS, damage_named, manifest_of, with_manifest

_LOG = logging.getLogger("langtailor")
Ids = NDArray[np.int32]
#: The splits that training reads.
TRAINING_SPLITS = ("train", "validation")
_KIND = "tokens"
#: Passages in one record batch; all of one split.
_BATCH_PASSAGES = 4_096
#: Passages tokenized at once, padded to the longest of them.
_AT_ONCE = 256


def tokenize_corpora(
    corpora: Mapping[str, Path],
    clone: Path,
    teacher: TeacherSettings,
    max_length: int | None,
    outs: Mapping[str, Path],
) -> None:
    """Tokenize the train and validation splits of each language.

    The ids are those that the model itself makes of a text: special tokens, prompt and limit are its own.

    Args:
        corpora: ``corpus/{lang}.parquet`` by language.
        clone: the sentence-transformers folder of the student before training.
        teacher: its prompts and ``trust_remote_code`` are used.
        max_length: tokens to which a text is truncated; the model's own limit where that is lower or this is ``None``.
        outs: the Arrow files by language. Their facts give ``rows`` and ``tokens`` by split, and ``prompt_length`` in tokens
            where the model counts it.

    Raises:
        ArtifactError: an input is damaged.
        UnsupportedTokenizerError: the model needs more than ids to read a text.
    """
    tokenizer = Tokenizer(clone, teacher.prompt, max_length, trust_remote_code=teacher.trust_remote_code)
    total = 0
    for lang, corpus in corpora.items():
        reading = teacher.for_language(lang)
        tokenizer.read_with(reading.prompt)
        made_by = {"max_length": max_length, "prompt": reading.prompt}
        inputs = {"corpus": sha256_file(corpus), "tokenizer": tokenizer_digest(clone)}
        total += _tokenize(tokenizer, corpus, Manifest(_KIND, made_by, inputs), outs[lang])
    _LOG.info("%s tokens", f"{total:,}")


def _tokenize(tokenizer: Tokenizer, corpus: Path, manifest: Manifest, out: Path) -> int:
    """Write one language's file; returns its number of tokens."""
    counts = split_counts(corpus)
    rows, tokens = (dict.fromkeys(TRAINING_SPLITS, 0) for _ in range(2))
    with scratch_directory(out) as folder:
        spool = folder / "tokens.arrow"
        # The manifest comes first in the file and holds the digest of the batches, so that these are spooled to disk first.
        with (
            Progress(f"tokenizing {corpus.stem}", sum(map(counts.__getitem__, TRAINING_SPLITS)), "passage") as progress,
            pa.ipc.new_file(str(spool), TOKENS) as writer,
        ):
            for split in TRAINING_SPLITS:
                for batch in _batches(tokenizer, corpus, split, progress):
                    rows[split] += len(batch)
                    tokens[split] += len(batch["ids"].values)
                    writer.write_batch(batch)
        facts = {"rows": rows, "tokens": tokens, "prompt_length": tokenizer.prompt_length}
        _write(out, spool, replace(manifest, facts=facts))
    return sum(tokens.values())


def tokenizer_digest(folder: Path) -> str:
    """SHA-256 of a model folder's ``tokenizer.json``: says whose ids a token file holds."""
    return sha256_file(folder / "tokenizer.json")


class Tokenizer:
    """Makes a model's token ids of texts.

    Args:
        folder: a sentence-transformers folder.
        prompt: put before each text: the name of one of the model's prompts, or the prompt itself.
        max_length: as for :func:`tokenize_corpora`.
        trust_remote_code: run Python code that comes with the model.

    Attributes:
        prompt_length: tokens of the prompt, where the model tells them apart from the text.
    """

    def __init__(
        self, folder: Path, prompt: str | None, max_length: int | None, *, trust_remote_code: bool = False
    ) -> None:
        self._model = load_sentence_transformer(folder, "cpu", trust_remote_code=trust_remote_code)
        limit = self._model.max_seq_length
        if max_length is not None:
            self._model.max_seq_length = max_length if limit is None else min(max_length, limit)
        self._info = ModelInfo.read(folder)
        self.read_with(prompt)

    def read_with(self, prompt: str | None) -> None:
        """Put another prompt before the texts that come next."""
        self._prompt = find_prompt(self._info, prompt)
        self.prompt_length: int | None = self._features(["x"]).get("prompt_length")

    def __call__(self, texts: list[str]) -> list[Ids]:
        """Ids of each text, special ones included; int32, shape (tokens,)."""
        features = self._features(texts)
        if "token_type_ids" in features and features["token_type_ids"].any():
            raise UnsupportedTokenizerError(
                "the model gives tokens of one text several types (token_type_ids); stored token ids cannot say that. "
                "Take a teacher that reads a text as one segment"
            )
        ids, mask = features["input_ids"].numpy().astype(np.int32), features["attention_mask"].numpy().astype(bool)
        return [row[real] for row, real in zip(ids, mask, strict=True)]

    def _features(self, texts: list[str]) -> dict[str, Any]:
        return dict(self._model.preprocess(texts, prompt=self._prompt or None))


class TokenRows:
    """Token ids of one split of one language, in corpus order.

    Attributes:
        lengths: tokens of each passage; int32, shape (n,).
    """

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._ids = [batch["id"] for batch in batches]
        self._offsets = [batch["ids"].offsets.to_numpy() for batch in batches]
        self._values = [batch["ids"].values.to_numpy() for batch in batches]
        self._starts = np.cumsum([0, *map(len, self._ids)])
        self.lengths: Ids = np.concatenate([np.empty(0, np.int32), *map(np.diff, self._offsets)])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> Ids:
        """Ids of a passage, without a copy; int32, shape (tokens,)."""
        batch, index = self._locate(row)
        start, end = self._offsets[batch][index : index + 2]
        ids: Ids = self._values[batch][start:end]
        return ids

    def id(self, row: int) -> str:
        """A passage's id in the corpus."""
        batch, index = self._locate(row)
        return str(self._ids[batch][index].as_py())

    def ids(self) -> pa.ChunkedArray:
        """All passages' ids in the corpus, in order."""
        return pa.chunked_array(self._ids, pa.string())

    def _locate(self, row: int) -> tuple[int, int]:
        batch = int(np.searchsorted(self._starts, row, side="right")) - 1
        return batch, row - int(self._starts[batch])


class TokenFile:
    """A token file, mapped into memory and verified.

    Args:
        path: ``distillation/{variant}/tokens/{lang}.arrow``.

    Attributes:
        manifest: what :func:`tokenize_corpora` wrote about it.

    Raises:
        ArtifactError: the file is missing, damaged or of another kind.
    """

    def __init__(self, path: Path) -> None:
        with damage_named(path):
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self._batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        self.manifest = manifest_of(path, reader.schema, _KIND)
        if not reader.schema.equals(TOKENS, check_metadata=False):
            raise ArtifactError(path, f"has other columns than a {_KIND} file: {reader.schema.names}")
        if not matches_checksum(path) and _digest(self._batches) != self.manifest.facts["sha256"]:
            raise ArtifactError(path, "does not match its checksum")

    def split(self, split: str) -> TokenRows:
        """The rows of ``train`` or ``validation``."""
        return TokenRows([batch for batch in self._batches if batch["split"][0].as_py() == split])


def _batches(tokenizer: Tokenizer, corpus: Path, split: str, progress: Progress) -> Iterator[pa.RecordBatch]:
    for part in stream_rows(corpus, split, ["id", "text"], _BATCH_PASSAGES):
        ids: list[Ids] = []
        for texts in batched(part["text"].to_pylist(), _AT_ONCE):
            ids += tokenizer(texts)
            progress.update(len(texts))
        yield _batch(part["id"].to_pylist(), split, ids)


def _batch(names: list[str], split: str, ids: list[Ids]) -> pa.RecordBatch:
    # New arrays, whose buffers hold these rows alone, so that equal rows give equal bytes.
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(ids)))
    return pa.record_batch([pa.array(names), pa.array([split] * len(names)), lists], schema=TOKENS)


def _write(out: Path, spool: Path, manifest: Manifest) -> None:
    """Write the batches of a spooled file after the manifest."""
    with pa.OSFile(str(spool)) as source, pa.ipc.open_file(source) as reader:

        def batches() -> Iterator[pa.RecordBatch]:
            return map(reader.get_batch, range(reader.num_record_batches))

        sealed = replace(manifest, facts={**manifest.facts, "sha256": _digest(batches())})
        schema = with_manifest(TOKENS.empty_table(), sealed).schema
        with atomic_file(out) as temporary, pa.ipc.new_file(str(temporary), schema) as writer:
            for batch in batches():
                writer.write_batch(batch)


def _digest(batches: Iterable[pa.RecordBatch]) -> str:
    """SHA-256 of the rows: lengths and content of every column, batch by batch."""
    digest = hashlib.sha256()
    for batch in batches:
        for column in batch.columns:
            # [validity, offsets, ..., values] of a string or a list column; files pad buffers, so each is cut to size.
            buffers = column.buffers()
            offsets = np.frombuffer(buffers[1], np.int32)[: len(batch) + 1]
            width = 4 if pa.types.is_list(column.type) else 1
            digest.update(offsets.tobytes())
            digest.update(memoryview(buffers[-1])[: int(offsets[-1]) * width])
    return digest.hexdigest()
