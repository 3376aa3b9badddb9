"""Passages as fewer texts with weights: where text can be cut at spaces, each distinct word is read once.

Words are counted in Arrow, without a Python object for each of their uses. Memory stays flat: passages are streamed,
and when the distinct words become too many they are given out and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from langtailor.counts.presplit import PROBE, WHOLE_TEXT, Presplit
from langtailor.storage.batching import batched, batched_by_weight

T = TypeVar("T")
#: Bytes of text whose words are counted together: the more, the fewer words are met anew.
_BYTES_AT_ONCE = 16_000_000
#: About how many bytes of distinct words are held, and what a word takes beside its characters.
_HELD_BYTES = 400_000_000
_BYTES_A_WORD = 100
#: Words that share a line.
_LINE_WORDS = 200


class WeightedTexts:
    """Texts with weights (positive and negative) that together have the tokens of all passages of a stream.

    Args:
        stream: the passages; read once.
        cuts: whether they may be cut at spaces.

    Attributes:
        cut: passages that were cut so far.
        whole: passages that were given out as they are.
    """

    def __init__(self, stream: Iterable[pa.StringArray], cuts: Presplit) -> None:
        self._stream, self._cuts = stream, cuts
        self.cut = self.whole = 0

    def __iter__(self) -> Iterator[tuple[str, int]]:
        words = DistinctWords(self._cuts)
        for texts in _large_batches(self._stream):
            whole = words.add(texts) if self._cuts.holds else texts
            self.cut += len(texts) - len(whole)
            self.whole += len(whole)
            yield from ((text, 1) for text in whole.to_pylist())
            if words.size > _HELD_BYTES:
                yield from words.lines()
                words = DistinctWords(self._cuts)
        yield from words.lines()


class DistinctWords:
    """Distinct words of a stream of texts with their uses, those that begin a text apart.

    Args:
        cuts: the proof that texts may be cut at spaces.

    Attributes:
        size: about how many bytes the words take.
    """

    def __init__(self, cuts: Presplit) -> None:
        self._cuts = cuts
        self._heads: dict[str, int] = {}
        self._others: dict[str, int] = {}
        self._open: set[str] = set()
        self.size = 0

    def add(self, texts: pa.StringArray) -> pa.StringArray:
        """Cut texts and count their words; returns the texts that must stay whole, which are not counted."""
        whole = pc.match_substring_regex(texts, WHOLE_TEXT).to_numpy(zero_copy_only=False)
        heads, others = self._parts(texts, ~whole)
        if self._cuts.may_be_open:
            self._note_open(heads, self._heads)
            self._note_open(others, self._others)
            if self._open:
                whole |= self._holds_open(texts)
                heads, others = self._parts(texts, ~whole)
        self._merge(heads, self._heads)
        self._merge(others, self._others)
        return texts.filter(pa.array(whole))

    def lines(self) -> Iterator[tuple[str, int]]:
        """Texts with weights that together have the tokens of all the texts that were cut.

        Words of equal count share a line, behind a word that is none of them; what it adds is taken off in the end.
        """
        yield from self._heads.items()
        surplus = 0
        by_count = sorted(self._others, key=self._others.__getitem__)
        for count, group in groupby(by_count, key=self._others.__getitem__):
            for words in batched(group, _LINE_WORDS):
                yield " ".join((PROBE, *words)), count
                surplus += count
        if surplus:
            yield PROBE, -surplus

    def _parts(self, texts: pa.StringArray, chosen: NDArray[np.bool_]) -> tuple[dict[str, int], dict[str, int]]:
        """First words and other words of the chosen texts; all count as others where it makes no difference."""
        parts = pc.split_pattern(texts.filter(pa.array(chosen)), " ")
        if self._cuts.heads_alike:
            return {}, _uses(parts.flatten())
        return _uses(pc.list_element(parts, 0)), _uses(pc.list_slice(parts, 1).flatten())

    def _note_open(self, found: dict[str, int], held: dict[str, int]) -> None:
        self._open.update(word for word in found if word not in held and self._cuts.is_open(word))

    def _holds_open(self, texts: pa.StringArray) -> NDArray[np.bool_]:
        """Which texts hold an open word."""
        parts = pc.split_pattern(texts, " ")
        found = pc.is_in(parts.flatten(), value_set=pa.array(sorted(self._open)))
        holding = np.zeros(len(texts), np.bool_)
        holding[pc.list_parent_indices(parts).filter(found).to_numpy()] = True
        return holding

    def _merge(self, found: dict[str, int], held: dict[str, int]) -> None:
        for word, count in found.items():
            if word in held:
                held[word] += count
            else:
                held[word] = count
                self.size += len(word) + _BYTES_A_WORD


def _large_batches(stream: Iterable[pa.StringArray]) -> Iterator[pa.StringArray]:
    return map(pa.concat_arrays, batched_by_weight(stream, lambda texts: int(texts.nbytes), _BYTES_AT_ONCE))


def _uses(words: pa.StringArray) -> dict[str, int]:
    found = pc.value_counts(words)
    return dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True))
