"""Rows predicted from the rows of a token's pieces, by a linear map that is learned on the teacher's own tokens.

Many of the teacher's tokens could also be written as several others. For each of them both are known: the rows of those
pieces, and the row that training gave to the whole token. Ridge regression learns to map the former to the latter, and
then predicts the rows of new tokens:

    e(t) ≈ W · [e(p₁), e(pₖ), 1/k · Σᵢ e(pᵢ), one-hot(k)]

A mean of pieces is one such map, and a poor one: it forgets their order, and that a piece means something else at the
start of a longer token than by itself. How much better the learned one is can be measured without any labels, by the
cosine to the true rows of held-out tokens; it also chooses the strength of the ridge.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch.nn import functional

from langtailor.storage.batching import batched
from langtailor.surgery.base import Family, Layout
from langtailor.surgery.segmentation import segment, segment_without_itself

_LOG = logging.getLogger("langtailor")
#: Tokens that are learned from: those that the student keeps, then the first in the teacher's order, which is about that of
#: frequency.
_MOST_EXAMPLES = 60_000
#: Weight of a kept token relative to a dropped one: it belongs to the languages that new tokens are for.
_KEPT_WEIGHT = 5.0
_LEAST_CHARACTERS = 3
#: With fewer there is nothing to learn.
_LEAST_EXAMPLES = 100
_MOST_PIECES = 5
#: One in this many examples is held out.
_HELD_OUT = 10
#: Examples whose features are made at a time, which bounds the memory.
_AT_ONCE = 4_096
#: Strengths of the ridge, relative to the mean squared norm of a feature.
_STRENGTHS = (0.001, 0.01, 0.1, 1.0)

Pieces = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class LearnedRows:
    """Predicted rows, and how well true rows are predicted.

    Attributes:
        rows: float32, shape (n, d), each of length 1.
        examples: tokens that were learned from.
        cosine: mean cosine of predicted to true rows of held-out tokens.
        cosine_of_means: the same of the mean of the pieces' rows.
    """

    rows: torch.Tensor
    examples: int
    cosine: float
    cosine_of_means: float


def learn_rows(family: Family, layout: Layout, table: torch.Tensor) -> LearnedRows | None:
    """Predict the rows of a vocabulary's new tokens.

    Args:
        family: the teacher's tokenizer.
        layout: the new vocabulary; its new tokens are predicted in the order of their ids.
        table: the teacher's input embeddings, shape (teacher rows, d).

    Returns:
        ``None`` where too few of the teacher's tokens are like the new ones, or where the map is no better than the mean of
        the pieces; the log says so.
    """
    grafts = [token for token in layout.tokens if token in layout.grafts]
    examples = _Examples.like(grafts, family, layout, len(table))
    if len(examples) < _LEAST_EXAMPLES:
        _LOG.warning(
            "only %d of the teacher's tokens are like the new ones: too few to learn from, so the rows stay unchanged",
            len(examples),
        )
        return None
    return _fitted(table, examples, segment(family.spec, grafts))


@dataclass(frozen=True)
class _Examples:
    """Teacher tokens whose rows are learned from.

    Attributes:
        ids: int64, shape (n,).
        pieces: teacher ids of the pieces of each.
        weights: float64, shape (n,).
    """

    ids: torch.Tensor
    pieces: Pieces
    weights: torch.Tensor

    @classmethod
    def like(cls, grafts: Sequence[str], family: Family, layout: Layout, rows: int) -> _Examples:
        """Tokens of the characters of the new ones, not shorter than a few of them, that have other pieces."""
        characters = set().union(*grafts)
        names = [token or "" for token in family.tokens[:rows]]
        similar = [
            i
            for i, (name, text) in enumerate(zip(names, family.surfaces(names), strict=True))
            if text and len(text.strip()) >= _LEAST_CHARACTERS and characters.issuperset(name)
        ]
        kept = np.zeros(rows, bool)
        kept[layout.teacher_ids[(layout.teacher_ids >= 0) & (layout.teacher_ids < rows)]] = True
        first = sorted(similar, key=lambda i: (not kept[i], i))[:_MOST_EXAMPLES]
        pieces = segment_without_itself(family.spec, [names[i] for i in first])
        usable = [n for n, row in enumerate(pieces) if 2 <= len(row) <= _MOST_PIECES and max(row) < rows]
        ids = torch.tensor([first[n] for n in usable], dtype=torch.int64)
        weights = np.where(kept[ids.numpy()], _KEPT_WEIGHT, 1.0)
        return cls(ids, [pieces[n] for n in usable], torch.from_numpy(weights))

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, chosen: torch.Tensor) -> _Examples:
        """Some of them; bool, shape (n,)."""
        pieces = [self.pieces[n] for n in torch.nonzero(chosen).flatten().tolist()]
        return _Examples(self.ids[chosen], pieces, self.weights[chosen])

    def blocks(self) -> Iterator[_Examples]:
        """All of them, few at a time."""
        for start in range(0, len(self), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            yield _Examples(self.ids[part], self.pieces[part], self.weights[part])


def _fitted(table: torch.Tensor, examples: _Examples, wanted: Pieces) -> LearnedRows | None:
    held_out = torch.arange(len(examples)) % _HELD_OUT == 0
    if (kept := held_out & (examples.weights > 1)).any():
        held_out = kept
    rest, measured = examples.take(~held_out), examples.take(held_out)
    products = _Products.of(table, rest)
    features, rows = _features(table, measured.pieces), table[measured.ids].double()
    tried = {strength: _cosine(features @ products.solve(strength), rows) for strength in _STRENGTHS}
    best = max(tried, key=tried.__getitem__)
    width = table.shape[1]
    mean = _cosine(features[:, 2 * width : 3 * width], rows)
    _LOG.info(
        "rows learned from %s of the teacher's tokens: cosine to held-out true rows %.3f, of the pieces' mean %.3f",
        f"{len(examples):,}",
        tried[best],
        mean,
    )
    if tried[best] <= mean:
        _LOG.warning("the learned map is no better than the mean of the pieces: the rows stay unchanged")
        return None
    learned = (products + _Products.of(table, measured)).solve(best)
    return LearnedRows(_predicted(table, wanted, learned), len(examples), round(tried[best], 6), round(mean, 6))


def _predicted(table: torch.Tensor, wanted: Pieces, learned: torch.Tensor) -> torch.Tensor:
    """What the map gives for the pieces of new tokens; float32, shape (n, d), each row of length 1."""
    predicted = torch.cat([_features(table, pieces) @ learned for pieces in batched(wanted, _AT_ONCE)])
    for index, pieces in enumerate(wanted):
        if len(pieces) == 1:  # the teacher has this very token
            predicted[index] = table[pieces[0]]
    return functional.normalize(predicted, dim=1).float()


@dataclass(frozen=True)
class _Products:
    """What ridge regression needs of features X, targets Y and weights D: ``XᵀDX`` and ``XᵀDY``."""

    gram: torch.Tensor
    moments: torch.Tensor

    @classmethod
    def of(cls, table: torch.Tensor, examples: _Examples) -> _Products:
        """Added up over blocks of examples, as the features of all of them would fill gigabytes."""
        width = table.shape[1]
        features_width = 3 * width + _MOST_PIECES
        gram = torch.zeros(features_width, features_width, dtype=torch.float64)
        moments = torch.zeros(features_width, width, dtype=torch.float64)
        for block in examples.blocks():
            features = _features(table, block.pieces)
            weighted = (features * block.weights[:, None]).T
            gram.addmm_(weighted, features)
            moments.addmm_(weighted, table[block.ids].double())
        return cls(gram, moments)

    def __add__(self, more: _Products) -> _Products:
        return _Products(self.gram + more.gram, self.moments + more.moments)

    def solve(self, strength: float) -> torch.Tensor:
        """The map for a strength of the ridge; shape (features, d)."""
        ridge = strength * float(self.gram.diagonal().mean())
        matrix = self.gram + ridge * torch.eye(len(self.gram), dtype=self.gram.dtype)
        solution: torch.Tensor = torch.linalg.solve(matrix, self.moments)
        return solution


def _features(table: torch.Tensor, pieces: Pieces) -> torch.Tensor:
    """Rows of the first and the last piece, the mean of all, and the number of pieces; float64, shape (n, 3 d + 5)."""
    counts = torch.tensor([len(ids) for ids in pieces])
    ends = counts.cumsum(0)
    starts = ends - counts
    # Tokens share their pieces: each piece's row becomes float64 once.
    distinct, inverse = np.unique(np.fromiter(chain.from_iterable(pieces), np.int64), return_inverse=True)
    rows, entries = table[torch.from_numpy(distinct)].double(), torch.from_numpy(inverse)
    means = functional.embedding_bag(entries, rows, starts, mode="mean")
    numbers = functional.one_hot(counts.clamp_max(_MOST_PIECES) - 1, _MOST_PIECES).double()
    return torch.cat([rows[entries[starts]], rows[entries[ends - 1]], means, numbers], dim=1)


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(functional.cosine_similarity(one, other, dim=1).mean())
