"""Which of the teacher's tokens come next, by need of each language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langtailor.surgery.base import Ids
from langtailor.vocabulary.statistics import CorpusStatistics

#: What a token that others replace without loss still counts, so that it comes before tokens that nothing uses.
_LEAST_LOSS = 1e-9
#: Tokens that are ranked on top of the same others, as a share of these, and at least so many.
_TURN, _LEAST_TURN = 0.25, 64
#: By teacher id, what is lost without a token where only the given teacher ids are kept.
Loss = Callable[[NDArray[Any]], NDArray[np.float64]]


@dataclass(frozen=True)
class Candidates:
    """Tokens in the order in which they are offered the budget, each once.

    Attributes:
        ids: int64, shape (C,): teacher ids.
        languages: int64, shape (C,): number of the language whose floor the token is in, -1 for none.
        ranks: int64, shape (C,): rank in that floor, from 1, or behind the floors; 0 for tokens without uses.
        names: the languages.
        floors: tokens in each language's floor.
        measure: what tokens behind the floors are ranked by.
    """

    ids: NDArray[np.int64]
    languages: NDArray[np.int64]
    ranks: NDArray[np.int64]
    names: tuple[str, ...]
    floors: tuple[int, ...]
    measure: str

    @classmethod
    def ranked(
        cls,
        statistics: CorpusStatistics,
        keepable: NDArray[np.bool_],
        mandatory: Ids,
        coverage: float,
        loss: Loss | None,
    ) -> Candidates:
        """The floors, one language's token after another's, then all others by weighted frequency.

        A floor is a language's most frequent tokens up to ``coverage`` of its uses. Languages take turns: next is the
        one of whose uses the smallest share is covered so far, so that a budget that runs out leaves them alike. By
        frequency, every language's uses are taken as shares, times its weight; with ``loss``, times what is lost where the
        tokens before are kept. Tokens without uses come last, in the teacher's order, which in most vocabularies is
        about that of frequency.
        """
        possible = keepable.copy()
        possible[mandatory] = True
        before, ids, ranks, languages = [], [], [], []
        for number, uses in enumerate(statistics.uses.values()):
            order = _most_used(np.where(possible, uses, 0))
            covered = (np.cumsum(uses[order]) - uses[order]) / max(int(uses[order].sum()), 1)
            order = order[covered < coverage]
            before.append(covered[: len(order)])
            ids.append(order)
            ranks.append(np.arange(1, len(order) + 1))
            languages.append(np.full(len(order), number))
        shares = np.where(keepable, _weighted_shares(statistics), 0.0)
        rest = _most_used(shares) if loss is None else _most_missed(shares, np.concatenate(ids), loss)
        unused = keepable.copy()
        unused[rest] = False
        behind = len(rest) + np.count_nonzero(unused)
        ids += [rest, np.flatnonzero(unused)]
        ranks += [np.arange(1, len(rest) + 1), np.zeros(behind - len(rest), np.int64)]
        languages += [np.full(behind, -1)]
        turns = [*before, np.full(behind, 2.0)]  # behind every floor
        all_ids, all_ranks, all_languages = (np.concatenate(parts) for parts in (ids, ranks, languages))
        order = np.argsort(np.concatenate(turns), kind="stable")
        chosen = order[_firsts(all_ids[order], len(keepable))]
        floors = tuple(len(floor) for floor in before)
        measure = "weighted frequency" if loss is None else "expected loss"
        return cls(all_ids[chosen], all_languages[chosen], all_ranks[chosen], tuple(statistics.uses), floors, measure)

    def reason(self, place: int) -> str:
        """Why the token at this place is offered a row."""
        language, rank = int(self.languages[place]), int(self.ranks[place])
        if language >= 0:
            return f"floor of {self.names[language]}: rank {rank:,} of {self.floors[language]:,}"
        return f"{self.measure} rank {rank:,}" if rank else "unused here; the budget had room"


def _firsts(ids: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Where each id that there is, all below ``size``, stands for the first time, sorted."""
    first = np.full(size, -1)
    # Written from behind, the first place is what stays.
    first[ids[::-1]] = np.arange(len(ids))[::-1]
    return np.sort(first[first >= 0])


def _most_used(score: NDArray[Any]) -> NDArray[np.int64]:
    """Ids with a positive score, the highest first, ties by id."""
    used = np.flatnonzero(score > 0)
    return used[np.argsort(-score[used], kind="stable")]


def _most_missed(shares: NDArray[np.float64], floor: NDArray[np.int64], loss: Loss) -> NDArray[np.int64]:
    """Ids with a positive share, the highest share times loss first.

    What is lost with a token depends on what else is kept, so they are ranked in turns, each on top of all before it.
    """
    order = np.zeros(0, np.int64)
    waiting = shares.copy()
    while waiting.any():
        kept = np.concatenate([floor, order])
        # Used tokens stay before unused ones, even those that lose nothing.
        ranked = _most_used(waiting * np.maximum(loss(kept), _LEAST_LOSS))
        order = np.concatenate([order, ranked[: max(int(_TURN * len(kept)), _LEAST_TURN)]])
        waiting[order] = 0
    return order


def _weighted_shares(statistics: CorpusStatistics) -> NDArray[np.float64]:
    shares = [statistics.weights[lang] * uses / max(int(uses.sum()), 1) for lang, uses in statistics.uses.items()]
    return np.asarray(np.sum(shares, axis=0), np.float64)
