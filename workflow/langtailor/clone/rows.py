"""Rows of the new embedding table, made from the teacher's.

A :class:`RowMapping` says of every new row which teacher rows it is the sum of, and with which weights. It is made once,
from the input embeddings, and applied to every table that has a row per token: one gather and one segment sum in
float32. Kept rows are copied without arithmetic, so they stay bit-identical in any precision.

In the formulas, ``e(p)`` is the teacher's row of piece ``p`` and ``p₁ … pₖ`` are the pieces into which the teacher
segments a new token, in its position in a word (:mod:`langtailor.surgery.segmentation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from langtailor.clone.alignment import Links
from langtailor.config.initialisation import InitialisationSettings
from langtailor.surgery.base import Ids

Rows = NDArray[np.int64]
#: Rows composed at a time, and rows compared with all kept ones at a time, which bounds the memory.
_COMPOSED_AT_ONCE = 8_192
_COMPARED_AT_ONCE = 512


@dataclass(frozen=True)
class RowMapping:
    """New rows as weighted sums of teacher rows, in compressed-sparse-row form.

    Attributes:
        offsets: int64, shape (V + 1,): where each new row's entries begin; a row without entries is zero.
        teacher_ids: int32, shape (entries,).
        weights: float32, shape (entries,).
    """

    offsets: NDArray[np.int64]
    teacher_ids: Ids
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Entries of each new row; shape (V,)."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> Rows:
        """New row of each entry; shape (entries,)."""
        return np.repeat(np.arange(len(self)), self.counts)

    def apply(self, table: torch.Tensor) -> torch.Tensor:
        """Make the new table.

        Args:
            table: shape (teacher rows,) or (teacher rows, d), any floating dtype.

        Returns:
            Same dtype, shape (V,) or (V, d). A row of one entry of weight 1 is copied bit by bit; others are summed in
            float32 and cast once.
        """
        first = self.offsets[:-1]
        copied = (self.counts == 1) & (np.append(self.weights, 0)[first] == 1)
        # One gather into the new table. Rows that are no copies are overwritten afterwards.
        source = np.where(copied, np.append(self.teacher_ids, 0)[first], 0)
        new = torch.index_select(table, 0, torch.from_numpy(source.astype(np.int64)))
        new[torch.from_numpy(np.flatnonzero(self.counts == 0))] = 0
        for rows, sums in self.sums(table, np.flatnonzero(~copied & (self.counts > 0))):
            new.index_copy_(0, torch.from_numpy(rows), sums.to(table.dtype))
        return new

    def sums(self, table: torch.Tensor, rows: Rows) -> Iterator[tuple[Rows, torch.Tensor]]:
        """Weighted sums for some of the new rows, batch by batch.

        Args:
            table: as for :meth:`apply`.
            rows: new ids of rows that have entries, sorted.

        Yields:
            The next of ``rows`` and their sums, float32, shape (n,) or (n, d).
        """
        counts = self.counts
        for start in range(0, len(rows), _COMPOSED_AT_ONCE):
            batch = rows[start : start + _COMPOSED_AT_ONCE]
            ends = np.cumsum(counts[batch])
            starts = ends - counts[batch]
            entries = np.arange(ends[-1]) + np.repeat(self.offsets[batch] - starts, counts[batch])
            ids, source = self.teacher_ids[entries].astype(np.int64), table
            if table.dtype != torch.float32:
                distinct, ids = np.unique(ids, return_inverse=True)
                source = table.index_select(0, torch.from_numpy(distinct)).float()
            sums = torch.nn.functional.embedding_bag(
                torch.from_numpy(ids),
                source.reshape(len(source), -1),
                torch.from_numpy(starts),
                mode="sum",
                per_sample_weights=torch.from_numpy(self.weights[entries]),
            )
            yield batch, sums.reshape(len(batch), *table.shape[1:])


def compose(
    teacher_ids: Ids,
    pieces: Sequence[Sequence[int]],
    characters: NDArray[np.int64],
    ordinary: Rows,
    table: torch.Tensor,
    settings: InitialisationSettings,
    links: Links | None = None,
) -> RowMapping:
    """The mapping that composes each row of the new table.

    Args:
        teacher_ids: int32, shape (V,): teacher id of each kept row, -1 for the others.
        pieces: teacher ids of the pieces of each row without a teacher id, in the order of their new ids. A row without
            pieces, such as one that pads the table, stays zero: no text is encoded as it, and a zero row changes no norm
            and wins no comparison.
        characters: int64, shape (teacher rows,): characters of each teacher token that is a piece.
        ordinary: new ids of the kept rows that ``norm-matched`` measures and ``similarity`` combines.
        table: the teacher's input embeddings, shape (teacher rows, d).
        settings: the method and its parameters.
        links: what new tokens translate to, for ``aligned`` and, where there are pairs, ``learned``.

    Returns:
        The mapping. For ``random`` new rows have no entries; :func:`draw` makes them.
    """
    if settings.method == "random":
        return _mean(teacher_ids, [()] * len(pieces))
    mean = _mean(teacher_ids, pieces)
    new_rows = np.flatnonzero((teacher_ids < 0) & (mean.counts > 0))
    match settings.method:
        case "length-weighted":
            return _length_weighted(mean, characters)
        case "norm-matched":
            return _norm_matched(mean, new_rows, ordinary, table)
        case "aligned":
            if links is None:
                raise ValueError("aligned needs links")
            return _aligned(mean, new_rows, links, ordinary, table)
        case "learned":
            # What is learned is added once the rows are there; see :mod:`langtailor.clone.learned`.
            if links is None:
                return _norm_matched(mean, new_rows, ordinary, table)
            return _aligned(mean, new_rows, links, ordinary, table)
        case "similarity":
            return _by_similarity(mean, new_rows, ordinary, table, settings)
    return mean


def draw(new: torch.Tensor, rows: Rows, table: torch.Tensor, seed: int) -> None:
    """Fill rows of a new table at random: the control condition, independent of the tokens.

    ``e(t) = μ + σ · z`` in each dimension, with the mean ``μ`` and standard deviation ``σ`` of the teacher's rows and
    ``z`` from the standard normal distribution.

    Args:
        new: the new table, shape (V,) or (V, d); changed in place.
        rows: new ids of the rows to fill.
        table: the teacher's table, shape (teacher rows,) or (teacher rows, d).
        seed: seeds the draw; equal seeds and shapes give equal rows on any machine.
    """
    total = torch.zeros(table.shape[1:], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for start in range(0, len(table), _COMPOSED_AT_ONCE):
        values = table[start : start + _COMPOSED_AT_ONCE].float()
        total += values.sum(dim=0)
        squares += values.square().sum(dim=0)
    mean = total / len(table)
    spread = (squares / len(table) - mean.square()).clamp_min(0).sqrt()
    noise = np.random.default_rng(seed).standard_normal((len(rows), *table.shape[1:]), dtype=np.float32)
    new[torch.from_numpy(rows)] = (mean.float() + spread.float() * torch.from_numpy(noise)).to(new.dtype)


def _mean(teacher_ids: Ids, pieces: Sequence[Sequence[int]]) -> RowMapping:
    """``e(t) = 1/k · Σᵢ e(pᵢ)``: the mean composition of the paper (arXiv 2605.29992)."""
    kept = teacher_ids >= 0
    counts = np.ones(len(teacher_ids), np.int64)
    counts[~kept] = [len(ids) for ids in pieces]
    is_of_kept = np.repeat(kept, counts)
    ids = np.empty(len(is_of_kept), np.int32)
    ids[is_of_kept] = teacher_ids[kept]
    ids[~is_of_kept] = np.fromiter(chain.from_iterable(pieces), np.int32)
    weights = np.repeat(1 / np.maximum(counts, 1), counts).astype(np.float32)
    return RowMapping(np.concatenate([[0], np.cumsum(counts)]), ids, weights)


def _length_weighted(mean: RowMapping, characters: NDArray[np.int64]) -> RowMapping:
    """``e(t) = Σᵢ |pᵢ| · e(pᵢ) / Σᵢ |pᵢ|``: weighted by characters, so that long, informative pieces prevail."""
    owners = mean.owners
    lengths = characters[mean.teacher_ids].astype(np.float64)
    totals = np.bincount(owners, lengths, minlength=len(mean))
    # A kept row has one entry: n / n is 1 exactly.
    return replace(mean, weights=(lengths / totals[owners]).astype(np.float32))


def _norm_matched(mean: RowMapping, new_rows: Rows, ordinary: Rows, table: torch.Tensor) -> RowMapping:
    """``e(t) = m(t) · N / |m(t)|`` for the mean ``m(t)`` of the pieces and the kept rows' mean norm ``N``.

    A mean of k nearly orthogonal rows is about ``√k`` too short: for orthogonal rows of norm N, ``|m|² = N² / k``. Only
    the length is changed.
    """
    kept = table[torch.from_numpy(_teacher_ids_of(mean, ordinary))].float()
    target = float(torch.linalg.vector_norm(kept, dim=1).mean())
    scale = np.ones(len(mean))
    for rows, sums in mean.sums(table, new_rows):
        norms = torch.linalg.vector_norm(sums, dim=1).clamp_min(torch.finfo(torch.float32).tiny)
        scale[rows] = target / norms.numpy()
    return replace(mean, weights=(mean.weights * scale[mean.owners]).astype(np.float32))


def _by_similarity(
    mean: RowMapping, new_rows: Rows, ordinary: Rows, table: torch.Tensor, settings: InitialisationSettings
) -> RowMapping:
    """``e(t) = Σⱼ softmaxⱼ(cos(m(t), e(j)) / τ) · e(j)`` over the kept tokens ``j`` nearest to the mean ``m(t)``.

    After FOCUS (Dobler and de Melo 2023, https://aclanthology.org/2023.emnlp-main.829), which combines tokens that both
    vocabularies have by their similarity in an auxiliary space; here the teacher's rows are that space. The softmax
    over the nearest neighbours with a temperature is that of WECHSEL (Minixhofer et al. 2022,
    https://aclanthology.org/2022.naacl-main.293).
    """
    candidates = _teacher_ids_of(mean, ordinary)
    keys = torch.nn.functional.normalize(table[torch.from_numpy(candidates)].float(), dim=1)
    neighbours = min(settings.neighbours, len(candidates))
    shape = len(new_rows), neighbours
    ids, weights = np.empty(shape, np.int32), np.empty(shape, np.float32)
    done = 0
    for _, sums in mean.sums(table, new_rows):
        queries = torch.nn.functional.normalize(sums, dim=1)
        for start in range(0, len(queries), _COMPARED_AT_ONCE):
            nearest = (queries[start : start + _COMPARED_AT_ONCE] @ keys.T).topk(neighbours, dim=1)
            batch = slice(done, done := done + len(nearest.indices))
            ids[batch] = candidates[nearest.indices.numpy()]
            weights[batch] = torch.softmax(nearest.values / settings.temperature, dim=1).numpy()
    return _with_entries(mean, np.repeat(new_rows, neighbours), ids.reshape(-1), weights.reshape(-1))


def _aligned(mean: RowMapping, new_rows: Rows, links: Links, ordinary: Rows, table: torch.Tensor) -> RowMapping:
    """``e(t) = λ · Σⱼ p(j | t) · e(j) + (1 - λ) · m(t)``, scaled to the kept rows' mean norm.

    ``p(j | t)`` is the probability that teacher token ``j`` translates ``t`` (:mod:`langtailor.clone.alignment`), and
    ``λ = n / (n + 1)`` for the ``n`` sentence pairs in which ``t`` occurs: without any, only the mean of the pieces is
    left.
    """
    confidence = links.confidence[links.student_ids]
    is_new = np.isin(links.student_ids, new_rows)
    linked = np.zeros(len(mean))
    np.maximum.at(linked, links.student_ids[is_new], confidence[is_new])
    is_piece = linked[mean.owners] > 0
    owners = np.concatenate([links.student_ids[is_new].astype(np.int64), mean.owners[is_piece]])
    ids = np.concatenate([links.teacher_ids[is_new], mean.teacher_ids[is_piece]])
    link_weights = links.probabilities[is_new] * confidence[is_new]
    piece_weights = mean.weights[is_piece] * (1 - linked[mean.owners[is_piece]])
    weights = np.concatenate([link_weights, piece_weights]).astype(np.float32)
    return _norm_matched(_with_entries(mean, owners, ids, weights), new_rows, ordinary, table)


def _teacher_ids_of(mean: RowMapping, kept: Rows) -> Rows:
    """Teacher ids of kept rows."""
    return mean.teacher_ids[mean.offsets[kept]].astype(np.int64)


def _with_entries(mapping: RowMapping, owners: Rows, ids: Ids, weights: NDArray[np.float32]) -> RowMapping:
    """The mapping with other entries for the rows ``owners``; all three arrays of shape (entries,)."""
    changed = np.zeros(len(mapping), bool)
    changed[owners] = True
    unchanged = ~changed[mapping.owners]
    all_owners = np.concatenate([mapping.owners[unchanged], owners])
    order = np.argsort(all_owners, kind="stable")
    offsets = np.cumsum(np.bincount(all_owners, minlength=len(mapping)))
    return RowMapping(
        np.concatenate([[0], offsets]),
        np.concatenate([mapping.teacher_ids[unchanged], ids])[order],
        np.concatenate([mapping.weights[unchanged], weights])[order],
    )
