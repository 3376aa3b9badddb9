"""Target text as symbol sequences of the pruned tokenizer, split where no graft may span."""

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

#: The least share of the merged tokens that contain a bigram of character classes that counts as theirs.
_COMMON = 1e-3


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
        self._tokens = set(tokens)

    def rows(self, pieces: Iterable[str]) -> Iterator[tuple[str, list[int]]]:
        """Each piece with its symbols; none where parts of it are unknown or reserved."""
        pieces = list(pieces)
        for piece, ids in zip(pieces, encode_words(self._encoder, pieces), strict=True):
            yield piece, self._row(piece, ids)

    def sequences(self, words: Mapping[str, int], may_join: Callable[[str, str], bool]) -> Sequences:
        """The words as symbol sequences, split where no graft may contain both neighbours.

        Args:
            words: words with their counts.
            may_join: whether a graft may contain two neighbouring characters.
        """
        counts: Counter[tuple[int, ...]] = Counter()
        names = self.symbols.names
        for word, row in self.rows(word for word in words if word not in self._reserved):
            start, count = 0, words[word]
            for at in range(1, len(row)):
                if not may_join(names[row[at - 1]][-1], names[row[at]][0]):
                    counts[tuple(row[start:at])] += count
                    start = at
            counts[tuple(row[start:])] += count
        missing = set(self.symbols.characters.values())
        return Sequences({row: n for row, n in counts.items() if len(row) > 1 or (row and row[0] in missing)})

    def _row(self, piece: str, ids: list[int]) -> list[int]:
        names = self.symbols.names
        if "".join([names[i] for i in ids]) == piece:
            return ids
        row: list[int] = []
        at, rest = 0, iter(ids)
        while at < len(piece):
            character = piece[at]
            if character in self._tokens:
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


class CharacterClassBigrams:
    """Which classes of characters are neighbours in the teacher's tokens.

    SentencePiece training keeps scripts, digits and punctuation apart in ways that ``tokenizer.json`` does not record
    (``split_digits``, ``split_by_unicode_script``), but the vocabulary shows. A bigram of classes is common when at least
    one merged token in a thousand contains it.

    Args:
        products: the teacher's merged tokens.
        mark: the space mark, if there is one.
    """

    def __init__(self, products: Collection[str], mark: str | None) -> None:
        self._spaces = {" ", mark}
        counts: Counter[str] = Counter()
        for token in products:
            counts.update({left + right for left, right in pairwise(map(self._class, token))})
        least = max(1, _COMMON * len(products))
        self._common = frozenset(bigram for bigram, count in counts.items() if count >= least)

    def are_common(self, left: str, right: str) -> bool:
        """Whether the teacher's tokens contain such neighbours; never across words or lines."""
        return self.inside_word(left, right) and self._class(left) + self._class(right) in self._common

    def inside_word(self, left: str, right: str) -> bool:
        """Whether no word or line begins between the two."""
        classes = self._class(left), self._class(right)
        return "\n" not in classes and (classes[1] != " " or classes[0] == " ")

    def _class(self, character: str) -> str:
        """Space, newline, or the major Unicode category, with marks as letters and symbols as punctuation."""
        if character in self._spaces:
            return " "
        if character == "\n":
            return "\n"
        category = unicodedata.category(character)[0]
        return {"M": "L", "S": "P"}.get(category, category)
