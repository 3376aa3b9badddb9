"""Which of many candidate tokens are worth their row, judged by real segmentation of a lexicon.

WordPiece and Unigram choose among all tokens at once, so a candidate's worth is not known until the whole set segments
the
text: longer candidates take uses from shorter ones. The set is therefore cut in rounds, and counted anew after each.
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
_LINE_WORDS = 5_000
_BATCH_LINES = 64
#: Share of the candidates that survives a round while there are too many.
_SHRINKING = 0.75


class Lexicon:
    """Distinct words with their counts, ready to be segmented again and again.

    Args:
        words: words after normalisation and pre-tokenization, with their uses.
    """

    def __init__(self, words: Mapping[str, int]) -> None:
        # Words of equal count share a line, so that one count weighs the whole line.
        by_count = sorted((count, word) for word, count in words.items() if SEPARATOR not in word)
        self._lines = [
            (count, SEPARATOR.join(chunk))
            for count, group in groupby(by_count, key=lambda item: item[0])
            for chunk in batched((word for _, word in group), _LINE_WORDS)
        ]

    def uses(self, model: models.Model, size: int) -> Counts:
        """Uses of every id when the model segments the words; int64, shape (size,)."""
        from tokenizers import Tokenizer, pre_tokenizers

        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(SEPARATOR, "removed")
        total = np.zeros(size, np.int64)
        for batch in batched(self._lines, _BATCH_LINES):
            encoded = tokenizer.encode_batch_fast([line for _, line in batch], add_special_tokens=False)
            for (count, _), found in zip(batch, encoded, strict=True):
                np.add.at(total, np.array(found.ids, np.int64), count)
        return total


def repeated(words: Mapping[str, int], most: int) -> Iterator[str]:
    """Lines that hold each word as often as it is used, for trainers that take no counts.

    Args:
        words: words with their uses.
        most: when there are more uses in all, they are scaled down to about this many, each word staying at least
        once.
    """
    scale = max(1.0, sum(words.values()) / most)
    for word, count in words.items():
        left = max(1, round(count / scale))
        while left > 0:
            yield (word + SEPARATOR) * min(left, _LINE_WORDS)
            left -= _LINE_WORDS


def settle(
    candidates: Sequence[str],
    savings: Callable[[Sequence[str]], Counts],
    uses: Callable[[Sequence[str]], Counts],
    limit: int,
    min_count: int,
) -> list[tuple[str, int]]:
    """Reduce candidates to at most ``limit`` that are each used at least ``min_count`` times beside one another.

    Args:
        candidates: distinct tokens.
        savings: for tokens, int64 of their number: tokens that one use of each saves.
        uses: for tokens, int64 of their number: uses when exactly these are added to the vocabulary.
        limit: the most tokens wanted.
        min_count: the least uses.

    Returns:
        Tokens with their uses, those that save most first, ties by name.
    """
    alive = np.array(sorted(candidates), dtype=object)
    saved = savings(alive.tolist()) if len(alive) else np.zeros(0, np.int64)
    alive, saved = alive[saved > 0], saved[saved > 0]
    while len(alive):
        used = uses(alive.tolist())
        order = np.argsort(-used * saved, kind="stable")
        survivors = order[used[order] >= min_count][: max(limit, int(len(alive) * _SHRINKING))]
        if len(survivors) == len(alive) <= limit:
            return [(alive[i], int(used[i])) for i in order.tolist()]
        survivors.sort()
        alive, saved = alive[survivors], saved[survivors]
    return []
