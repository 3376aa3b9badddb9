"""Passages to train on: stored token ids on one side, stored teacher vectors on the other, all languages together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from langtailor.distillation.batches import Rows
from langtailor.distillation.tokens import Ids, TokenRows
from langtailor.vectors.store import VectorStore


class Passages:
    """One split of all languages. Rows count through the languages in alphabetical order, each in corpus order.

    Args:
        tokens: token ids of the split by language.
        vectors: the teacher's vectors of the split by language.

    Attributes:
        languages: each language's rows; languages without a passage are left out.
        lengths: tokens of each passage; int32, shape (n,).

    Raises:
        ArtifactError: tokens and vectors do not belong together.
    """

    def __init__(self, tokens: Mapping[str, TokenRows], vectors: Mapping[str, VectorStore]) -> None:
        self._tokens = {lang: tokens[lang] for lang in sorted(tokens) if len(tokens[lang])}
        self._vectors = {lang: vectors[lang] for lang in self._tokens}
        for lang, found in self._tokens.items():
            self._vectors[lang].check_ids(found.ids())
        sizes = [len(found) for found in self._tokens.values()]
        self._starts = np.cumsum([0, *sizes])
        self.languages = {
            lang: slice(int(start), int(start) + size)
            for lang, start, size in zip(self._tokens, self._starts, sizes, strict=False)
        }
        self.lengths: Ids = np.concatenate([np.empty(0, np.int32), *(found.lengths for found in self._tokens.values())])

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def dimension(self) -> int:
        """Width of the teacher's vectors."""
        return next(iter(self._vectors.values())).dimension

    def tokens(self, rows: Rows) -> list[Ids]:
        """Token ids of passages; each int32, shape (tokens,)."""
        return [self._tokens[lang][row] for lang, row in self._places(rows)]

    def names(self, rows: Rows) -> list[str]:
        """Passages as ``language:id``."""
        return [f"{lang}:{self._tokens[lang].id(row)}" for lang, row in self._places(rows)]

    def targets(self, rows: Rows) -> NDArray[np.float32]:
        """The teacher's vectors of passages; shape (len(rows), dimension)."""
        found = np.empty((len(rows), self.dimension), np.float32)
        owner = self._owner(rows)
        for index, lang in enumerate(self._tokens):
            if (mine := owner == index).any():
                found[mine] = self._vectors[lang].take(rows[mine] - self._starts[index])
        return found

    def _owner(self, rows: Rows) -> Rows:
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _places(self, rows: Rows) -> list[tuple[str, int]]:
        names = list(self._tokens)
        owner = self._owner(rows)
        return [(names[o], int(row - self._starts[o])) for o, row in zip(owner, rows, strict=True)]
