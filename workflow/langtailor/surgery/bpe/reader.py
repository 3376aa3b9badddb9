"""Reading target text as symbols of the pruned tokenizer, cut where a graft shall not reach across."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from langtailor.surgery.bpe.grafts import Sequences, Symbols
from langtailor.surgery.spelling import BYTE_TOKENS
from langtailor.surgery.word_models import encode_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_HABIT = 1e-3


class Reader:
    """Reads pieces of text as symbols of the pruned tokenizer.

    Args:
        tokens: its tokens by id.
        encoder: its model, for text in the vocabulary's spelling.
        reserved: names that no graft may take; a piece of such a name is left out.

    Attributes:
        symbols: the tokens, and the characters without a token that were read so far.
    """

    def __init__(self, tokens: Sequence[str], encoder: Tokenizer, reserved: Collection[str]) -> None:
        self.symbols = Symbols(tokens, reserved)
        self._reserved, self._encoder = reserved, encoder
        self._known = set(tokens)

    def rows(self, pieces: Iterable[str]) -> Iterator[tuple[str, list[int]]]:
        """Each piece with its symbols; none where parts of it are unknown or reserved."""
        pieces = list(pieces)
        for piece, ids in zip(pieces, encode_words(self._encoder, pieces), strict=True):
            yield piece, self._row(piece, ids)

    def sequences(self, words: Mapping[str, int], joins: Callable[[str, str], bool]) -> Sequences:
        """The words as symbol sequences, cut where ``joins`` forbids a graft to hold both neighbours."""
        uses: Counter[tuple[int, ...]] = Counter()
        names = self.symbols.names
        for word, row in self.rows(word for word in words if word not in self._reserved):
            start, count = 0, words[word]
            for at in range(1, len(row)):
                if not joins(names[row[at - 1]][-1], names[row[at]][0]):
                    uses[tuple(row[start:at])] += count
                    start = at
            uses[tuple(row[start:])] += count
        missing = set(self.symbols.characters.values())
        return Sequences({row: n for row, n in uses.items() if len(row) > 1 or (row and row[0] in missing)})

    def _row(self, piece: str, ids: list[int]) -> list[int]:
        names = self.symbols.names
        if "".join([names[i] for i in ids]) == piece:
            return ids
        row: list[int] = []
        at, rest = 0, iter(ids)
        while at < len(piece):
            character = piece[at]
            if character in self._known:
                token = next(rest, None)
                if token is None or not piece.startswith(names[token], at):
                    return []
                row.append(token)
                at += len(names[token])
            else:
                expected = [BYTE_TOKENS[byte] for byte in character.encode()]
                if [names[i] for i in islice(rest, len(expected))] != expected or character in self._reserved:
                    return []
                row.append(self.symbols.character(character))
                at += 1
        return row


class Habits:
    """Which kinds of characters stand side by side in the teacher's tokens.

    SentencePiece training keeps scripts, digits and punctuation apart in ways that ``tokenizer.json`` does not record
    (``split_digits``, ``split_by_unicode_script``); the vocabulary shows them. A pair of kinds is a habit when at
    least one merged token in a thousand holds it.

    Args:
        products: the teacher's merged tokens.
        mark: what stands for the space, if anything does.
    """

    def __init__(self, products: Collection[str], mark: str | None) -> None:
        self._spaces = {" ", mark}
        found: Counter[str] = Counter()
        for token in products:
            kinds = map(self._kind, token)
            found.update({left + right for left, right in pairwise(kinds)})
        least = max(1, _HABIT * len(products))
        self._pairs = frozenset(pair for pair, count in found.items() if count >= least)

    def joins(self, left: str, right: str) -> bool:
        """Whether the teacher's tokens hold such neighbours; never across words or lines."""
        return self.inside_word(left, right) and self._kind(left) + self._kind(right) in self._pairs

    def inside_word(self, left: str, right: str) -> bool:
        """Whether no word or line begins between the two."""
        kinds = self._kind(left), self._kind(right)
        return "\n" not in kinds and (kinds[1] != " " or kinds[0] == " ")

    def _kind(self, character: str) -> str:
        """Space, newline, or the major Unicode category, with marks as letters and symbols as punctuation."""
        if character in self._spaces:
            return " "
        if character == "\n":
            return "\n"
        category = unicodedata.category(character)[0]
        return {"M": "L", "S": "P"}.get(category, category)
