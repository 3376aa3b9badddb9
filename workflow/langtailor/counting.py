"""How often a language uses each of the teacher's tokens."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer

from langtailor import tables
from langtailor.artifacts import Manifest, sha256_file
from langtailor.corpus import read_corpus
from langtailor.progress import Progress
from langtailor.teacher import TeacherInfo

_LOG = logging.getLogger("langtailor")
_KIND = "counts"
_TEXTS_AT_ONCE = 1_000


@dataclass(frozen=True)
class LanguageCounts:
    """Uses of each teacher token in one language's train split.

    Attributes:
        uses: int64, shape (teacher rows,).
        words: whitespace-separated words of the split.
    """

    uses: NDArray[np.int64]
    words: int


def count_tokens(corpus: Path, teacher: Path, out: Path) -> None:
    """Count the teacher's tokens in the train split of one language, special tokens aside.

    Args:
        corpus: ``corpus/{lang}.parquet``.
        teacher: the teacher's folder.
        out: ``counts/{lang}.parquet``: every teacher id once, in order.
    """
    rows = TeacherInfo.read(teacher).vocabulary_size
    tokenizer = bare_tokenizer(teacher)
    uses, words, characters, passages = np.zeros(rows, dtype=np.int64), 0, 0, 0
    texts = read_corpus(corpus, "train", columns=["text"])["text"]
    with Progress(f"counting {corpus.stem}", len(texts), "passage") as progress:
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            batch = texts.slice(start, _TEXTS_AT_ONCE).to_pylist()
            uses += np.bincount(np.concatenate(encode(tokenizer, batch)), minlength=rows)
            words += sum(len(text.split()) for text in batch)
            characters += sum(len(text) for text in batch)
            passages += len(batch)
            progress.update(len(batch))
    tokens = int(uses.sum())
    manifest = Manifest(
        _KIND,
        inputs={"tokenizer": sha256_file(teacher / "tokenizer.json"), "corpus": sha256_file(corpus)},
        facts={"passages": passages, "characters": characters, "words": words, "tokens": tokens},
    )
    table = pa.table({"token_id": np.arange(rows, dtype=np.int32), "count": uses}, schema=tables.COUNTS)
    tables.write_table(out, table, manifest)
    _LOG.info("%s: %s tokens, %.2f a word", corpus.stem, f"{tokens:,}", tokens / max(words, 1))


def read_counts(path: Path) -> LanguageCounts:
    """Read what :func:`count_tokens` wrote."""
    table, manifest = tables.read_table(path, _KIND, tables.COUNTS)
    return LanguageCounts(table["count"].to_numpy(), int(manifest.facts["words"]))


def bare_tokenizer(folder: Path) -> Tokenizer:
    """A folder's tokenizer without the truncation and padding that its file may ask for."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[NDArray[np.int32]]:
    """Token ids of each text, without special tokens: one int32 array a text."""
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]
