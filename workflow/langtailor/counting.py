"""How often a language uses each of the teacher's tokens.

Where the tokenizer lets text be cut at spaces (:mod:`langtailor.wordcuts`), distinct words are counted first, in Arrow, and
each is tokenized once; otherwise, and for the texts that may not be cut, whole passages are. Memory stays flat: passages are
streamed, and the words are tokenized and forgotten when they become too many.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import Tokenizer

from langtailor import tables
from langtailor.artifacts import Manifest, sha256_file
from langtailor.corpus import split_counts
from langtailor.errors import ArtifactError
from langtailor.progress import Progress
from langtailor.teacher import TeacherInfo
from langtailor.wordcuts import PROBE, WHITE, WHOLE_TEXT, WordCuts, prove_word_cuts

T = TypeVar("T")
_LOG = logging.getLogger("langtailor")
_KIND = "counts"
_ROWS_AT_ONCE = 10_000
#: Bytes of text whose words are counted together: the more, the fewer of them are met anew.
_CUT_BYTES = 16_000_000
#: About how many bytes of distinct words are held before they are tokenized, and what a word takes beside its characters.
_HELD_BYTES = 400_000_000
_BYTES_A_WORD = 100
#: Words that are tokenized together, as one line.
_LINE_WORDS = 200
_TEXTS_AT_ONCE = 2_000


@dataclass(frozen=True)
class LanguageCounts:
    """Uses of each teacher token in one language's train split.

    Attributes:
        uses: int64, shape (teacher rows,).
        words: white-space-separated words of the split.
    """

    uses: NDArray[np.int64]
    words: int


def count_tokens(corpus: Path, teacher: Path, out: Path) -> None:
    """Count the teacher's tokens in the train split of one language, special tokens aside.

    Args:
        corpus: ``corpus/{lang}.parquet``.
        teacher: the teacher's folder.
        out: ``counts/{lang}.parquet``: every teacher id once, in order.

    Raises:
        ArtifactError: the corpus is damaged, or uses a token for which the teacher has no embedding.
    """
    tokenizer, cuts = load_for_counting(teacher)
    counter = TokenCounter(tokenizer, cuts)
    words = characters = passages = 0
    with Progress(f"counting {corpus.stem}", split_counts(corpus)["train"], "passage") as progress:
        for texts in _train_texts(corpus):
            counter.add(texts)
            words += pc.sum(pc.count_substring_regex(texts, f"[^{WHITE}]+")).as_py()
            characters += pc.sum(pc.utf8_length(texts)).as_py()
            passages += len(texts)
            progress.update(len(texts))
    uses = _with_rows(counter.finish(), TeacherInfo.read(teacher).vocabulary_size, tokenizer, corpus)
    tokens = int(uses.sum())
    manifest = Manifest(
        _KIND,
        inputs={"tokenizer": sha256_file(teacher / "tokenizer.json"), "corpus": sha256_file(corpus)},
        facts={
            "passages": passages,
            "characters": characters,
            "words": words,
            "tokens": tokens,
            "tokens_per_word": round(tokens / max(words, 1), 6),
            "method": counter.method(),
        },
    )
    table = pa.table({"token_id": np.arange(len(uses), dtype=np.int32), "count": uses}, schema=tables.COUNTS)
    tables.write_table(out, table, manifest)
    _LOG.info("%s: %s tokens, %.2f a word", corpus.stem, f"{tokens:,}", tokens / max(words, 1))


def read_counts(path: Path) -> LanguageCounts:
    """Read what :func:`count_tokens` wrote."""
    table, manifest = tables.read_table(path, _KIND, tables.COUNTS)
    return LanguageCounts(table["count"].to_numpy(), int(manifest.facts["words"]))


def load_for_counting(teacher: Path) -> tuple[Tokenizer, WordCuts]:
    """A folder's tokenizer and whether its texts may be cut at spaces."""
    spec = json.loads((teacher / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer = bare_tokenizer(teacher)
    return tokenizer, prove_word_cuts(spec, tokenizer)


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


class TokenCounter:
    """Counts the tokens of a stream of texts.

    Args:
        tokenizer: without truncation and padding.
        cuts: whether its texts may be cut at spaces.
    """

    def __init__(self, tokenizer: Tokenizer, cuts: WordCuts) -> None:
        self._tokenizer, self._cuts = tokenizer, cuts
        self._uses = np.zeros(1 + max(tokenizer.get_vocab().values(), default=-1), np.int64)
        self._words = DistinctWords(cuts)
        self._waiting: list[pa.StringArray] = []
        self._cut_texts = self._whole_texts = 0

    def add(self, texts: pa.StringArray) -> None:
        """Count the tokens of these texts."""
        self._waiting.append(texts)
        if sum(waiting.nbytes for waiting in self._waiting) > _CUT_BYTES:
            self._take_texts()

    def finish(self) -> NDArray[np.int64]:
        """Uses of each id, int64, shape (highest id + 1,)."""
        self._take_texts()
        self._take_words()
        return self._uses

    def method(self) -> dict[str, object]:
        """How was counted, for the manifest: the proof's outcome and the texts counted in either way."""
        return {
            "word_cuts": self._cuts.holds,
            "reason": self._cuts.reason,
            "texts_cut": self._cut_texts,
            "texts_whole": self._whole_texts,
        }

    def _take_texts(self) -> None:
        texts = pa.concat_arrays(self._waiting) if self._waiting else pa.array([], pa.string())
        self._waiting = []
        whole = self._words.add(texts) if self._cuts.holds else texts
        self._tally((text, 1) for text in whole.to_pylist())
        self._whole_texts += len(whole)
        self._cut_texts += len(texts) - len(whole)
        if self._words.size > _HELD_BYTES:
            self._take_words()

    def _take_words(self) -> None:
        self._tally(self._words.lines())
        self._words = DistinctWords(self._cuts)

    def _tally(self, texts: Iterable[tuple[str, int]]) -> None:
        for batch in _batches(texts, _TEXTS_AT_ONCE):
            found = encode(self._tokenizer, [text for text, _ in batch])
            weights = np.repeat([weight for _, weight in batch], [len(ids) for ids in found])
            np.add.at(self._uses, np.concatenate(found), weights)


class DistinctWords:
    """Distinct words of a stream of texts with their uses, those that begin a text apart.

    Args:
        cuts: the proof that texts may be cut at spaces.

    Attributes:
        size: about how many bytes the words take.
    """

    def __init__(self, cuts: WordCuts) -> None:
        self._cuts = cuts
        self._heads: dict[str, int] = {}
        self._words: dict[str, int] = {}
        self._open: set[str] = set()
        self.size = 0

    def add(self, texts: pa.StringArray) -> pa.StringArray:
        """Cut texts and count their words; returns the texts that must stay whole, which are not counted."""
        whole = pc.match_substring_regex(texts, WHOLE_TEXT).to_numpy(zero_copy_only=False)
        heads, words = self._parts(texts, ~whole)
        if self._cuts.may_be_open:
            new = (
                word
                for found, held in ((heads, self._heads), (words, self._words))
                for word in found
                if word not in held
            )
            self._open.update(word for word in new if self._cuts.is_open(word))
            if self._open:
                whole |= self._holds_open(texts)
                heads, words = self._parts(texts, ~whole)
        for found, held in ((heads, self._heads), (words, self._words)):
            for word, count in found.items():
                if word in held:
                    held[word] += count
                else:
                    held[word] = count
                    self.size += len(word) + _BYTES_A_WORD
        return texts.filter(pa.array(whole))

    def lines(self) -> Iterator[tuple[str, int]]:
        """Texts with weights, that together have the tokens of all the texts that were cut.

        Words of equal count share a line, behind a word that does not belong to them; what it adds is taken off in the end.
        """
        yield from self._heads.items()
        weight = 0
        by_count = sorted(self._words, key=self._words.__getitem__)
        for count, group in groupby(by_count, key=self._words.__getitem__):
            for chunk in _batches(group, _LINE_WORDS):
                yield " ".join((PROBE, *chunk)), count
                weight -= count
        yield PROBE, weight

    def _parts(self, texts: pa.StringArray, chosen: NDArray[np.bool_]) -> tuple[dict[str, int], dict[str, int]]:
        """First words and other words of the chosen texts, with their uses; all are others where it makes no difference."""
        parts = pc.split_pattern(texts.filter(pa.array(chosen)), " ")
        if self._cuts.heads_alike:
            return {}, _uses(parts.flatten())
        return _uses(pc.list_element(parts, 0)), _uses(pc.list_slice(parts, 1).flatten())

    def _holds_open(self, texts: pa.StringArray) -> NDArray[np.bool_]:
        """Which texts hold an open word."""
        parts = pc.split_pattern(texts, " ")
        found = pc.is_in(parts.flatten(), value_set=pa.array(sorted(self._open)))
        holding = np.zeros(len(texts), bool)
        holding[pc.list_parent_indices(parts).filter(found).to_numpy()] = True
        return holding


def _uses(words: pa.StringArray) -> dict[str, int]:
    found = pc.value_counts(words)
    return dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True))


def _with_rows(uses: NDArray[np.int64], rows: int, tokenizer: Tokenizer, corpus: Path) -> NDArray[np.int64]:
    """Uses of each row of the embedding table; tokens may be fewer than rows, and unused ones more."""
    if uses[rows:].any():
        missing = rows + int(np.flatnonzero(uses[rows:])[0])
        token = tokenizer.id_to_token(missing)
        raise ArtifactError(
            corpus, f"holds the text {token!r}, which is the teacher's token {missing} of {rows} rows; leave it out"
        )
    counted = np.zeros(rows, np.int64)
    counted[: len(uses)] = uses[:rows]
    return counted


def _train_texts(corpus: Path) -> Iterator[pa.StringArray]:
    for batch in tables.read_batches(corpus, "corpus", tables.CORPUS, _ROWS_AT_ONCE, columns=["text", "split"]):
        yield batch["text"].filter(pc.equal(batch["split"], "train"))


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
