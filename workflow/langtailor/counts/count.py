"""How often each of the teacher's tokens occurs in a language.

Where the tokenizer lets text be split at spaces (:mod:`langtailor.counts.presplit`), each distinct word is tokenized once;
otherwise, and for the few texts that may not be split, whole passages are. The counts are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import Tokenizer

from langtailor.corpus.reading import split_counts, stream_texts
from langtailor.counts.presplit import WHITE
from langtailor.counts.words import WeightedTexts, WordReader
from langtailor.errors import ArtifactError
from langtailor.models.folder import ModelInfo
from langtailor.progress import Progress
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest
from langtailor.storage.batching import batched_by_weight
from langtailor.storage.digests import sha256_file

_LOG = logging.getLogger("langtailor")
_KIND = "counts"
#: Characters that are tokenized at once: an encoding takes many times the memory of its text.
_CHARACTERS_AT_ONCE = 250_000


@dataclass(frozen=True)
class LanguageCounts:
    """Counts of each teacher token in one language's train split.

    Attributes:
        counts: int64, shape (teacher rows,).
        words: white-space-separated words of the split.
    """

    counts: NDArray[np.int64]
    words: int


def count_corpora(corpora: Mapping[str, Path], teacher: Path, outs: Mapping[str, Path]) -> None:
    """Count the teacher's tokens in the train split of each language, special tokens aside.

    Args:
        corpora: ``corpus/{lang}.parquet`` by language.
        teacher: the teacher's folder.
        outs: ``counts/{lang}.parquet`` by language: every teacher id once, in order. Their manifests say how was counted and
            why.

    Raises:
        ArtifactError: a corpus is damaged, or uses a token for which the teacher has no embedding.
    """
    _LOG.info("loading the tokenizer")
    reader = WordReader.open(teacher)
    for lang, corpus in corpora.items():
        _count_tokens(corpus, teacher, reader, outs[lang])


def _count_tokens(corpus: Path, teacher: Path, reader: WordReader, out: Path) -> None:
    tokenizer, presplit = reader.tokenizer, reader.presplit
    stream = _MeasuredTexts(corpus)
    texts = WeightedTexts(stream, presplit)
    counts = _with_rows(count_ids(tokenizer, texts), ModelInfo.read(teacher).vocabulary_size, tokenizer, corpus)
    tokens = int(counts.sum())
    manifest = Manifest(
        _KIND,
        inputs={"tokenizer": sha256_file(teacher / "tokenizer.json"), "corpus": sha256_file(corpus)},
        facts={
            "passages": stream.passages,
            "characters": stream.characters,
            "words": stream.words,
            "tokens": tokens,
            "tokens_per_word": round(tokens / max(stream.words, 1), 6),
            "word_cuts": {
                "holds": presplit.holds,
                "reason": presplit.reason,
                "cut": texts.split,
                "whole": texts.whole,
            },
        },
    )
    table = pa.table({"token_id": np.arange(len(counts), dtype=np.int32), "count": counts}, schema=tables.COUNTS)
    tables.write_table(out, table, manifest)
    _LOG.info("%s: %s tokens, %.2f per word", corpus.stem, f"{tokens:,}", tokens / max(stream.words, 1))


def read_counts(path: Path) -> LanguageCounts:
    """Read a language's counts that :func:`count_corpora` wrote."""
    table, manifest = tables.read_table(path, _KIND, tables.COUNTS)
    return LanguageCounts(table["count"].to_numpy(), int(manifest.facts["words"]))


def count_ids(tokenizer: Tokenizer, texts: Iterable[tuple[str, int]]) -> NDArray[np.int64]:
    """Counts of each token in texts with weights, without special tokens; int64, shape (highest id + 1,)."""
    counts = np.zeros(1 + max(tokenizer.get_vocab().values(), default=-1), np.int64)
    for batch in batched_by_weight(texts, lambda weighted: len(weighted[0]), _CHARACTERS_AT_ONCE):
        ids = encode(tokenizer, [text for text, _ in batch])
        weights = np.repeat([weight for _, weight in batch], [len(of_text) for of_text in ids])
        np.add.at(counts, np.concatenate(ids), weights)
    return counts


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[NDArray[np.int32]]:
    """Token ids of each text, without special tokens: one int32 array a text."""
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]


class _MeasuredTexts:
    """The train texts of a corpus; measures them as they go by."""

    def __init__(self, corpus: Path) -> None:
        self._corpus = corpus
        self.passages = self.characters = self.words = 0

    def __iter__(self) -> Iterator[pa.StringArray]:
        total = split_counts(self._corpus)["train"]
        with Progress(f"counting {self._corpus.stem}", total, "passage") as progress:
            for texts in stream_texts(self._corpus, ["train"]):
                self.passages += len(texts)
                self.characters += pc.sum(pc.utf8_length(texts)).as_py() or 0
                self.words += pc.sum(pc.count_substring_regex(texts, f"[^{WHITE}]+")).as_py() or 0
                yield texts
                progress.update(len(texts))


def _with_rows(counts: NDArray[np.int64], rows: int, tokenizer: Tokenizer, corpus: Path) -> NDArray[np.int64]:
    """Counts of each row of the embedding table; tokens may be fewer than rows, and unused ones more."""
    if counts[rows:].any():
        missing = rows + int(np.flatnonzero(counts[rows:])[0])
        raise ArtifactError(
            corpus,
            f"holds the text {tokenizer.id_to_token(missing)!r}, which is token {missing} of a teacher whose embedding "
            f"table has {rows} rows; remove it from the source",
        )
    by_row = np.zeros(rows, np.int64)
    by_row[: len(counts)] = counts[:rows]
    return by_row
