"""Counting over a corpus as if each distinct word occurred in it once.

Where text may be split at spaces (:mod:`langtailor.counts.presplit`), passages become fewer texts with weights that
together hold the same words and tokens. Words are counted in Arrow, without a Python object for each occurrence. Memory
stays flat: passages are streamed, and when the distinct words become too many they are given out and forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import Tokenizer

from langtailor.corpus.reading import stream_texts
from langtailor.counts.presplit import PROBE, WHOLE_TEXT, Presplit, prove_presplit
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.storage.batching import batched, batched_by_weight
from langtailor.storage.json_files import load_json_object

#: Bytes of text whose words are counted together: the more, the fewer words are met anew, and the more memory it takes.
_BYTES_AT_ONCE = 2_000_000
#: About how many bytes of distinct words are held, and what a word takes beside its characters.
_MOST_WORD_BYTES = 400_000_000
_BYTES_A_WORD = 100
#: Characters of texts whose words are counted together before they join the others.
_CHARACTERS_AT_ONCE = 1_000_000
#: Words that share a line.
_LINE_WORDS = 200

#: A text and how often it stands in the corpus; the weight may be negative.
WeightedText = tuple[str, int]


@dataclass(frozen=True)
class WordReader:
    """Reads corpora for one tokenizer, each distinct word once where that is proved to change nothing.

    Attributes:
        tokenizer: the tokenizer, without truncation and padding.
        presplit: whether texts may be split at spaces.
    """

    tokenizer: Tokenizer
    presplit: Presplit

    @classmethod
    def open(cls, folder: Path) -> Self:
        """A reader for the tokenizer of a model folder.

        Raises:
            ArtifactError: the folder has no readable ``tokenizer.json``.
        """
        spec = load_json_object(folder / "tokenizer.json")
        tokenizer = tokenizer_of(spec)
        return cls(tokenizer, prove_presplit(spec, tokenizer))

    def word_counts(
        self, corpora: Iterable[Path], splits: Sequence[str], words: Callable[[Iterable[str]], Mapping[str, int]]
    ) -> Counter[str]:
        """What ``words`` counts in all passages of some splits.

        Args:
            corpora: ``corpus/{lang}.parquet``.
            splits: names of splits.
            words: counts words in texts, each text on its own, as the tokenizer splits it.

        Raises:
            ArtifactError: a corpus is damaged.
        """
        return _weighted_counts(list(self._weighted_texts(corpora, splits)), words)

    def distinct_texts(self, corpora: Iterable[Path], splits: Sequence[str]) -> Iterator[str]:
        """Texts that together hold every word of all passages of some splits.

        Raises:
            ArtifactError: a corpus is damaged.
        """
        return (text for text, _ in self._weighted_texts(corpora, splits))

    def _weighted_texts(self, corpora: Iterable[Path], splits: Sequence[str]) -> Iterator[WeightedText]:
        return chain.from_iterable(WeightedTexts(stream_texts(corpus, splits), self.presplit) for corpus in corpora)


class WeightedTexts:
    """Texts with weights that together have the tokens of all passages of a stream.

    Args:
        stream: the passages; read once.
        presplit: whether they may be split at spaces.

    Attributes:
        split: passages that were split so far.
        whole: passages that were given out as they are.
    """

    def __init__(self, stream: Iterable[pa.StringArray], presplit: Presplit) -> None:
        self._stream, self._presplit = stream, presplit
        self.split = self.whole = 0

    def __iter__(self) -> Iterator[WeightedText]:
        words = DistinctWords(self._presplit)
        for texts in _large_batches(self._stream):
            whole = words.add(texts) if self._presplit.holds else texts
            self.split += len(texts) - len(whole)
            self.whole += len(whole)
            yield from ((text, 1) for text in whole.to_pylist())
            if words.size > _MOST_WORD_BYTES:
                yield from words.lines()
                words = DistinctWords(self._presplit)
        yield from words.lines()


class DistinctWords:
    """Distinct words of a stream of texts with their counts, those that begin a text apart.

    Args:
        presplit: the proof that texts may be split at spaces.

    Attributes:
        size: about how many bytes the words take.
    """

    def __init__(self, presplit: Presplit) -> None:
        self._presplit = presplit
        self._first_words: dict[str, int] = {}
        self._other_words: dict[str, int] = {}
        self._context_dependent: set[str] = set()
        self.size = 0

    def add(self, texts: pa.StringArray) -> pa.StringArray:
        """Split texts and count their words; returns the texts that must stay whole, which are not counted."""
        whole = pc.match_substring_regex(texts, WHOLE_TEXT).to_numpy(zero_copy_only=False)
        first, other = self._count(texts, ~whole)
        if self._presplit.has_context_dependent_words:
            self._note_context_dependent(first, self._first_words)
            self._note_context_dependent(other, self._other_words)
            if self._context_dependent:
                whole |= self._hold_context_dependent(texts)
                first, other = self._count(texts, ~whole)
        self._add(first, self._first_words)
        self._add(other, self._other_words)
        return texts.filter(pa.array(whole))

    def lines(self) -> Iterator[WeightedText]:
        """Texts with weights that together have the tokens of all the texts that were split.

        Words of equal count share a line, behind a word that is none of them; what it adds is taken off in the end.
        """
        yield from self._first_words.items()
        surplus = 0
        by_count = sorted(self._other_words, key=self._other_words.__getitem__)
        for count, group in groupby(by_count, key=self._other_words.__getitem__):
            for words in batched(group, _LINE_WORDS):
                yield " ".join((PROBE, *words)), count
                surplus += count
        if surplus:
            yield PROBE, -surplus

    def _count(self, texts: pa.StringArray, chosen: NDArray[np.bool_]) -> tuple[dict[str, int], dict[str, int]]:
        """First words and other words of the chosen texts; all count as others where it makes no difference."""
        parts = pc.split_pattern(texts.filter(pa.array(chosen)), " ")
        if self._presplit.first_words_alike:
            return {}, _value_counts(parts.flatten())
        return _value_counts(pc.list_element(parts, 0)), _value_counts(pc.list_slice(parts, 1).flatten())

    def _note_context_dependent(self, new: dict[str, int], counts: dict[str, int]) -> None:
        fresh = (word for word in new if word not in counts)
        self._context_dependent.update(filter(self._presplit.is_context_dependent, fresh))

    def _hold_context_dependent(self, texts: pa.StringArray) -> NDArray[np.bool_]:
        """Which texts hold a context-dependent word."""
        parts = pc.split_pattern(texts, " ")
        matches = pc.is_in(parts.flatten(), value_set=pa.array(sorted(self._context_dependent)))
        holding = np.zeros(len(texts), np.bool_)
        holding[pc.list_parent_indices(parts).filter(matches).to_numpy()] = True
        return holding

    def _add(self, new: dict[str, int], counts: dict[str, int]) -> None:
        for word, count in new.items():
            if word in counts:
                counts[word] += count
            else:
                counts[word] = count
                self.size += len(word) + _BYTES_A_WORD


def _weighted_counts(
    texts: Sequence[WeightedText], words: Callable[[Iterable[str]], Mapping[str, int]]
) -> Counter[str]:
    """Sum of what ``words`` counts in each text, times its weight.

    As ``words`` knows no weights, a text is read once for each binary digit of its weight. Only the probe has a negative
    one.
    """
    total: Counter[str] = Counter()
    for digit in range(max((weight for _, weight in texts), default=0).bit_length()):
        chosen = (text for text, weight in texts if weight > 0 and weight >> digit & 1)
        for batch in batched_by_weight(chosen, len, _CHARACTERS_AT_ONCE):
            for word, count in words(batch).items():
                total[word] += count << digit
    surplus = sum(weight for _, weight in texts if weight < 0)
    for word, count in words([PROBE] if surplus else []).items():
        total[word] += surplus * count
    return +total


def _large_batches(stream: Iterable[pa.StringArray]) -> Iterator[pa.StringArray]:
    return map(pa.concat_arrays, batched_by_weight(stream, lambda texts: int(texts.nbytes), _BYTES_AT_ONCE))


def _value_counts(words: pa.StringArray) -> dict[str, int]:
    counts = pc.value_counts(words)
    return dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True))
