"""Rows of the new embedding table, composed from the teacher's.

A :class:`Composition` says of every new row which teacher rows it is made of, with which weights; applying it is one
gather and one segment sum in float32. Kept rows are copied without arithmetic, so they stay bit-identical in any
precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from langtailor.config import InitialisationSettings
from langtailor.surgery.base import Layout

#: Rows composed at a time: bounds the memory that gathered teacher rows take.
_ROWS_AT_ONCE = 8_192


@dataclass(frozen=True)
class Composition:
    """New rows as weighted sums of teacher rows, in compressed-sparse-row form.

    Attributes:
        offsets: int64, shape (V + 1,): where each new row's entries begin.
        teacher_ids: int32, shape (entries,).
        weights: float32, shape (entries,).
    """

    offsets: NDArray[np.int64]
    teacher_ids: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Teacher rows behind each new row, shape (V,)."""
        return np.diff(self.offsets)

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int]], weights: Sequence[Sequence[float]] | None = None) -> Composition:
        """Build from teacher ids by new row; without weights, each row's pieces weigh the same."""
        lengths = np.asarray([len(row) for row in rows], dtype=np.int64)
        flat = np.asarray([i for row in rows for i in row], dtype=np.int32)
        if weights is None:
            values = np.repeat(1.0 / np.maximum(lengths, 1), lengths)
        else:
            values = np.asarray([w for row in weights for w in row])
        return cls(np.concatenate([[0], np.cumsum(lengths)]), flat, values.astype(np.float32))

    def apply(self, table: torch.Tensor) -> torch.Tensor:
        """Compose a table.

        Args:
            table: shape (teacher rows, ...), any floating dtype.

        Returns:
            Same dtype, shape (V, ...). Rows of one entry with weight 1 are copied bit by bit; others are summed in
            float32 and cast once; rows without entries are zero.
        """
        lengths = self.lengths
        copied = np.flatnonzero(lengths == 1)
        copied = copied[self.weights[self.offsets[copied]] == 1.0]
        composed = np.setdiff1d(np.flatnonzero(lengths > 0), copied, assume_unique=True)
        new = table.new_zeros((len(self), *table.shape[1:]))
        new[torch.from_numpy(copied)] = table[torch.from_numpy(self.teacher_ids[self.offsets[copied]].astype(np.int64))]
        for start in range(0, len(composed), _ROWS_AT_ONCE):
            rows = composed[start : start + _ROWS_AT_ONCE]
            new[torch.from_numpy(rows)] = self._sum(table, rows).to(table.dtype)
        return new

    def _sum(self, table: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        entries = np.arange(ends[-1]) + np.repeat(self.offsets[rows] - (ends - lengths), lengths)
        gathered = table[torch.from_numpy(self.teacher_ids[entries].astype(np.int64))].float()
        weights = torch.from_numpy(self.weights[entries]).reshape(-1, *[1] * (table.ndim - 1))
        owner = torch.from_numpy(np.repeat(np.arange(len(rows)), lengths))
        total = torch.zeros((len(rows), *table.shape[1:]), dtype=torch.float32)
        return total.index_add_(0, owner, gathered * weights)


def compose(
    layout: Layout,
    pieces: Sequence[Sequence[int]],
    piece_lengths: NDArray[np.int64],
    embeddings: torch.Tensor,
    settings: InitialisationSettings,
) -> Composition:
    """Say how each new row is made.

    ``mean``: the mean of the rows of the pieces into which the teacher cuts the token's text (arXiv 2605.29992).
    ``length-weighted``: the same, each piece weighted by its share of the characters. ``norm-matched``: the mean
    scaled to the mean norm of the kept rows, for a mean of k weakly related rows is about sqrt(k) too short.
    ``similarity``: a softmax combination of the kept rows nearest to that mean, after FOCUS (Dobler and de Melo
    2023), but in the teacher's own space. ``random`` is no combination of rows; see :func:`random_rows`.

    Args:
        layout: the new vocabulary.
        pieces: teacher ids of each new row without a teacher row of its own, in the order of their new ids; none for
            padding.
        piece_lengths: int64, shape (teacher rows,): characters of each teacher token.
        embeddings: the teacher's input embeddings, shape (teacher rows, d).
        settings: the method and its parameters.
    """
    fresh = np.flatnonzero(layout.teacher_ids < 0)
    own: list[Sequence[int]] = [[int(i)] for i in layout.teacher_ids]
    for row, ids in zip(fresh.tolist(), pieces, strict=True):
        own[row] = ids
    plain = Composition.from_lists(own)
    if settings.method == "length-weighted":
        return _length_weighted(own, piece_lengths)
    if settings.method == "norm-matched":
        return _norm_matched(plain, layout, embeddings)
    if settings.method == "similarity":
        return _by_similarity(plain, own, layout, embeddings, settings)
    return plain


def random_rows(layout: Layout, embeddings: torch.Tensor, seed: int) -> torch.Tensor:
    """Rows drawn from the normal distribution with the teacher rows' mean and standard deviation in each dimension.

    Args:
        layout: the new vocabulary; only its number of new, unpadded rows counts.
        embeddings: the teacher's input embeddings, shape (teacher rows, d).
        seed: seeds the draw.

    Returns:
        float32, shape (new rows, d), in the order of their new ids.
    """
    rows = int(
        sum(t < 0 and token not in layout.padding for t, token in zip(layout.teacher_ids, layout.tokens, strict=True))
    )
    whole = embeddings.float()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((rows, embeddings.shape[1]), generator=generator)
    return whole.mean(dim=0) + noise * whole.std(dim=0)


def _length_weighted(rows: Sequence[Sequence[int]], piece_lengths: NDArray[np.int64]) -> Composition:
    weights = []
    for ids in rows:
        lengths = np.maximum(piece_lengths[list(ids)], 1).astype(np.float64)
        weights.append((lengths / lengths.sum()).tolist() if len(ids) > 1 else [1.0] * len(ids))
    return Composition.from_lists(rows, weights)


def _norm_matched(plain: Composition, layout: Layout, embeddings: torch.Tensor) -> Composition:
    kept = layout.teacher_ids[layout.teacher_ids >= 0].astype(np.int64)
    target = float(embeddings[torch.from_numpy(kept)].float().norm(dim=1).mean())
    fresh = np.flatnonzero((layout.teacher_ids < 0) & (plain.lengths > 0))
    scale = np.ones(len(plain))
    for start in range(0, len(fresh), _ROWS_AT_ONCE):
        rows = fresh[start : start + _ROWS_AT_ONCE]
        scale[rows] = target / np.maximum(plain._sum(embeddings, rows).norm(dim=1).numpy(), 1e-12)
    return replace(plain, weights=(plain.weights * np.repeat(scale, plain.lengths)).astype(np.float32))


def _by_similarity(
    plain: Composition,
    own: Sequence[Sequence[int]],
    layout: Layout,
    embeddings: torch.Tensor,
    settings: InitialisationSettings,
) -> Composition:
    kept = layout.teacher_ids[layout.teacher_ids >= 0].astype(np.int64)
    keys = torch.nn.functional.normalize(embeddings[torch.from_numpy(kept)].float(), dim=1)
    fresh = np.flatnonzero((layout.teacher_ids < 0) & (plain.lengths > 0))
    ids: list[Sequence[int]] = list(own)
    weights: list[Sequence[float]] = [[1.0 / len(row)] * len(row) for row in own]
    for start in range(0, len(fresh), _ROWS_AT_ONCE // 8):
        rows = fresh[start : start + _ROWS_AT_ONCE // 8]
        queries = torch.nn.functional.normalize(plain._sum(embeddings, rows), dim=1)
        near = (queries @ keys.T).topk(min(settings.neighbours, len(kept)), dim=1)
        shares = torch.softmax(near.values / settings.temperature, dim=1)
        for row, where, share in zip(rows.tolist(), near.indices.numpy(), shares.tolist(), strict=True):
            ids[row], weights[row] = kept[where].tolist(), share
    return Composition.from_lists(ids, weights)
