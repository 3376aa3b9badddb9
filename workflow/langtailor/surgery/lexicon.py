"""Choosing among many candidate tokens by segmenting a lexicon with them.

WordPiece and Unigram segment a word with all of their tokens at once. So the count of a candidate depends on the other
candidates: longer ones take occurrences from shorter ones. The set is therefore reduced in rounds, and counted again
after each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from langtailor.storage.batching import batched

if TYPE_CHECKING:
    from tokenizers import models

Counts = NDArray[np.int64]

#: Separates words inside one line; no normaliser of these families lets it through.
SEPARATOR = "\0"
#: Words that share a line, and lines that are tokenized at once: an encoding takes many times the memory of its text.
_LINE_WORDS = 500
_BATCH_LINES = 64
#: Share of the candidates that stays after a round while there are too many.
_SHRINKING = 0.75


class Lexicon:
    """Distinct words with their counts, ready to be segmented again and again.

    Args:
        words: normalised, pre-tokenized words with their counts.
    """

    def __init__(self, words: Mapping[str, int]) -> None:
        # Words of equal count share a line, so that one count weighs the whole line.
        by_count = sorted((count, word) for word, count in words.items() if SEPARATOR not in word)
        self._lines = [
            (count, SEPARATOR.join(batch))
            for count, group in groupby(by_count, key=lambda item: item[0])
            for batch in batched((word for _, word in group), _LINE_WORDS)
        ]

    def count_tokens(self, model: models.Model, size: int) -> Counts:
        """How often each id occurs in the model's segmentation of the words; int64, shape (size,)."""
        from tokenizers import Tokenizer, pre_tokenizers

        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(SEPARATOR, "removed")
        total = np.zeros(size, np.int64)
        for batch in batched(self._lines, _BATCH_LINES):
            encodings = tokenizer.encode_batch_fast([line for _, line in batch], add_special_tokens=False)
            for (count, _), encoding in zip(batch, encodings, strict=True):
                np.add.at(total, np.array(encoding.ids, np.int64), count)
        return total


def repeated(words: Mapping[str, int], most: int) -> Iterator[str]:
    """Lines in which each word is repeated by its count, for trainers that take no counts.

    Args:
        words: words with their counts.
        most: where the counts sum up to more, they are scaled down to about this sum, each to one at least.
    """
    scale = max(1.0, sum(words.values()) / most)
    for word, count in words.items():
        left = max(1, round(count / scale))
        while left > 0:
            yield (word + SEPARATOR) * min(left, _LINE_WORDS)
            left -= _LINE_WORDS


def choose_candidates(
    candidates: Sequence[str],
    savings: Callable[[Sequence[str]], Counts],
    counts: Callable[[Sequence[str]], Counts],
    limit: int,
    min_count: int,
) -> list[tuple[str, int]]:
    """Reduce candidates to at most ``limit`` that each occur at least ``min_count`` times beside one another.

    Args:
        candidates: distinct tokens.
        savings: for tokens, how many tokens one occurrence of each saves; int64, one a token.
        counts: for tokens, their counts when exactly these are added to the vocabulary; int64, one a token.
        limit: the most tokens to choose.
        min_count: the least count.

    Returns:
        Tokens with their counts, those that save most first, ties by name.
    """
    tokens = np.array(sorted(candidates), dtype=object)
    saved = savings(tokens.tolist()) if len(tokens) else np.zeros(0, np.int64)
    tokens, saved = tokens[saved > 0], saved[saved > 0]
    while len(tokens):
        count = counts(tokens.tolist())
        order = np.argsort(-count * saved, kind="stable")
        best = order[count[order] >= min_count][: max(limit, int(len(tokens) * _SHRINKING))]
        if len(best) == len(tokens) <= limit:
            return [(tokens[i], int(count[i])) for i in order.tolist()]
        best.sort()
        tokens, saved = tokens[best], saved[best]
    return []
