"""Splitting long documents into passages that the teacher can read whole.

A passage is as full as good places to split allow: it ends at the last end of a paragraph that still fits, if that fills
at least half of it; else of a line; else of a sentence; else of a word; else, as in text without spaces, between two
graphemes. Lengths are counted by the teacher's own tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from langtailor.corpus.boundaries import Positions, last_grapheme_boundary, unit_ends
from langtailor.models.tokenizer_file import open_tokenizer

#: For each text, the character position at which each of its tokens starts, in order; without special tokens.
TokenStarts = Callable[[Sequence[str]], list[Positions]]


class Chunker:
    """Splits texts into chunks of at most ``limit`` tokens.

    Args:
        token_starts: the tokenizer.
        limit: tokens without special ones.
    """

    def __init__(self, token_starts: TokenStarts, limit: int) -> None:
        self._token_starts = token_starts
        self._limit = limit

    def fits(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is short enough as it is."""
        return [len(starts) <= self._limit for starts in self._token_starts(texts)]

    def chunk(self, texts: Sequence[str]) -> list[list[str]]:
        """The chunks of each text, in order; together they are the text but for white space between them.

        Only a single grapheme of more than ``limit`` tokens is split, and only a single character of so many makes a
        chunk that is too long.
        """
        all_starts = self._token_starts(texts)
        return [
            [text] if len(starts) <= self._limit else self._split(text, starts)
            for text, starts in zip(texts, all_starts, strict=True)
        ]

    def _split(self, text: str, starts: Positions) -> list[str]:
        """Split by the text's tokens, and with a smaller budget where a chunk alone has more tokens than in its place.

        That happens: the tokens beside a boundary change, and a token that spans white space may fall into many.
        """
        budget = self._limit
        while True:
            chunks = _split_by_tokens(text, starts, budget)
            excess = max(map(len, self._token_starts(chunks)), default=0) - self._limit
            if excess <= 0 or budget == 1:
                return chunks
            budget = max(budget - excess, 1)


def load_chunker(teacher: Path, max_tokens: int) -> Chunker:
    """A chunker that counts with a teacher's tokenizer.

    Args:
        teacher: the teacher's folder.
        max_tokens: longest chunk with the special tokens that the tokenizer adds to it.

    Raises:
        ArtifactError: the folder has no readable ``tokenizer.json``.
    """
    tokenizer = open_tokenizer(teacher)

    def token_starts(texts: Sequence[str]) -> list[Positions]:
        encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array([start for start, _ in encoding.offsets], np.int64) for encoding in encodings]

    return Chunker(token_starts, max_tokens - tokenizer.num_special_tokens_to_add(is_pair=False))


def _split_by_tokens(text: str, starts: Positions, budget: int) -> list[str]:
    """Split so that at most ``budget`` of the text's tokens start in each chunk."""
    ends = unit_ends(text)
    chunks: list[str] = []
    begin = token = 0
    while len(starts) - token > budget:
        enough, full = int(starts[token + budget // 2]), int(starts[token + budget])
        end = _last_end(ends, max(enough, begin + 1), full) or last_grapheme_boundary(text, begin, full)
        chunks.append(text[begin:end].strip())
        begin, token = end, int(np.searchsorted(starts, end))
    chunks.append(text[begin:].strip())
    return [chunk for chunk in chunks if chunk]


def _last_end(ends: Sequence[Positions], low: int, high: int) -> int | None:
    """The last position in ``low <= p <= high`` of the coarsest unit that has any."""
    for positions in ends:
        index = int(np.searchsorted(positions, high, side="right")) - 1
        if index >= 0 and positions[index] >= low:
            return int(positions[index])
    return None
