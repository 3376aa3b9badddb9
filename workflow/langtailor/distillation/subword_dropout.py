"""Tokens of training text that are dropped at random, so that the student learns to read words of which it has no token.

In place of a dropped token come the pieces into which the tokenizer would segment its text without it, as for words whose
tokens are not in the student's vocabulary; the target stays the teacher's vector of the text as it is. After subword
regularization (Kudo 2018, arXiv 1804.10959) and BPE-dropout (Provilkov et al. 2020, arXiv 1910.13267), which draw the
segmentation of a whole word.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langtailor.distillation.data import Passages
from langtailor.distillation.tokens import Ids
from langtailor.models.length_batches import Rows
from langtailor.storage.json_files import load_json
from langtailor.surgery.segmentation import segment_without_itself
from langtailor.surgery.spec import model_tokens_by_id

#: Passages of a language whose common beginning is taken for special tokens and prompt, which stay.
_COMPARED = 64


class SubwordDropout:
    """Drops tokens of passages, by a draw that depends on seed, step and passage alone.

    Args:
        passages: what is read.
        pieces: of the tokens.
        share: of the tokens that have pieces, how many are dropped.
        seed: of the draw.
        limit: tokens that a passage may have. One that would get longer stays as it is.
    """

    def __init__(self, passages: Passages, pieces: Pieces, share: float, seed: int, limit: int) -> None:
        self._pieces, self._share, self._seed, self._limit = pieces, share, seed, limit
        self._beginnings = np.zeros(len(passages), np.int32)
        for rows in passages.languages.values():
            some = np.arange(rows.start, min(rows.stop, rows.start + _COMPARED))
            self._beginnings[rows] = _common_beginning(passages.tokens(some))

    def __call__(self, ids: Sequence[Ids], rows: Rows, step: int) -> list[Ids]:
        """Token ids of some passages, given all of theirs and their rows, as the step reads them."""
        return [self._drawn(its_ids, int(row), step) for its_ids, row in zip(ids, rows, strict=True)]

    def _drawn(self, ids: Ids, row: int, step: int) -> Ids:
        dropped = np.random.default_rng([self._seed, step, row]).random(len(ids)) < self._share
        dropped[: self._beginnings[row]] = False
        drawn = self._pieces.replacing(ids, dropped)
        return drawn if len(drawn) <= self._limit else ids


class Pieces:
    """For each token of a tokenizer, the pieces that its text would have without it.

    Args:
        pieces: ids by token; none for tokens that cannot be dropped.
    """

    def __init__(self, pieces: Sequence[Sequence[int]]) -> None:
        counts = [len(ids) for ids in pieces]
        # Each token itself, and behind them all pieces: so that a token and its pieces are slices of one array.
        self._flat = np.concatenate([np.arange(len(pieces)), *(np.array(ids, int) for ids in pieces)]).astype(np.int32)
        self._counts = np.array(counts)
        self._starts = len(pieces) + np.cumsum([0, *counts[:-1]])

    @classmethod
    def read(cls, folder: Path) -> Pieces:
        """Of the ``tokenizer.json`` of a folder."""
        spec = load_json(folder / "tokenizer.json")
        names = model_tokens_by_id(spec["model"]["vocab"])
        added = {token["id"] for token in spec["added_tokens"]}
        ordinary = [i for i in sorted(names) if i not in added]
        pieces = dict(zip(ordinary, segment_without_itself(spec, [names[i] for i in ordinary]), strict=True))
        return cls([pieces.get(i, ()) for i in range(max({*names, *added}) + 1)])

    def replacing(self, ids: Ids, dropped: NDArray[np.bool_]) -> Ids:
        """The ids with their pieces in place of those that are dropped, where there are pieces."""
        dropped = dropped & (self._counts[ids] > 0)
        counts = np.where(dropped, self._counts[ids], 1)
        starts = np.where(dropped, self._starts[ids], ids)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        drawn: Ids = self._flat[np.repeat(starts, counts) + within]
        return drawn


def _common_beginning(passages: Sequence[Ids]) -> int:
    """The number of tokens with which all passages begin."""
    shortest = min(map(len, passages))
    same = np.all([ids[:shortest] == passages[0][:shortest] for ids in passages], axis=0)
    return shortest if same.all() else int(same.argmin())
