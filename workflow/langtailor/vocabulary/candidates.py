"""The order in which the teacher's tokens are offered the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langtailor.surgery.base import Ids
from langtailor.vocabulary.statistics import CorpusStatistics, Counts

#: The loss of a token that others replace without loss, so that it comes before tokens that do not occur.
_LEAST_LOSS = 1e-9
#: Tokens that are ranked on top of the same others, as a share of these, and the least number of them.
_STEP, _LEAST_STEP = 0.25, 64
#: By teacher id, what is lost without a token where only the given teacher ids are kept.
Loss = Callable[[NDArray[Any]], NDArray[np.float64]]
#: By language and teacher id, how often a token can be expected in as much text as was counted, given the counts.
Expected = Callable[[Counts], Mapping[str, NDArray[np.float64]]]


@dataclass(frozen=True)
class Candidates:
    """Tokens in the order in which they are offered the budget, each once.

    First come the minimums of all languages: a language's minimum is its most frequent tokens up to a stated coverage.
    The remainder follows.

    Attributes:
        ids: int64, shape (C,): teacher ids.
        languages: int64, shape (C,): number of the language whose minimum the token is in, -1 for the remainder.
        ranks: int64, shape (C,): rank from 1 in that minimum or in the remainder; 0 for tokens that do not occur.
        names: the languages.
        minimums: number of tokens in each language's minimum.
        measure: what the remainder is ranked by.
    """

    ids: NDArray[np.int64]
    languages: NDArray[np.int64]
    ranks: NDArray[np.int64]
    names: tuple[str, ...]
    minimums: tuple[int, ...]
    measure: str

    @classmethod
    def ranked(
        cls,
        statistics: CorpusStatistics,
        keepable: NDArray[np.bool_],
        mandatory: Ids,
        coverage: float,
        loss: Loss | None,
        expected: Expected | None = None,
    ) -> Candidates:
        """Rank all tokens that may be kept.

        The minimums are interleaved: next comes a token of the language of which the smallest share of the text is
        covered so far, so that a budget that runs out leaves all languages alike. The remainder is ranked by weighted
        frequency: the sum of each language's relative frequencies times its weight; with ``loss``, times what is lost
        without the token where the tokens before it are kept. Tokens that do not occur come last, the likeliest first.

        Args:
            statistics: counts and weights of the languages.
            keepable: bool by teacher id: tokens that may be kept.
            mandatory: teacher ids that are kept in any case.
            coverage: share of each language's token occurrences that its minimum covers.
            loss: what is lost without a token; ``None`` counts all alike.
            expected: how often tokens can be expected in other text; ``None`` leaves those that do not occur in the
                teacher's order.
        """
        possible = keepable.copy()
        possible[mandatory] = True
        minimums, covered_before = _minimums(statistics, possible, coverage)
        frequencies = np.where(keepable, _weighted_frequencies(statistics, statistics.counts), 0.0)
        ranked = _descending(frequencies) if loss is None else _by_loss(frequencies, np.concatenate(minimums), loss)
        without_count = keepable.copy()
        without_count[ranked] = False
        idle = np.flatnonzero(without_count)
        if expected is not None:
            likelihood = _weighted_frequencies(statistics, expected(statistics.counts))
            idle = idle[np.argsort(-likelihood[idle], kind="stable")]
        remainder = len(ranked) + len(idle)
        ids = np.concatenate([*minimums, ranked, idle])
        ranks = [np.arange(1, len(part) + 1) for part in (*minimums, ranked)]
        languages = [np.full(len(minimum), number) for number, minimum in enumerate(minimums)]
        priority = np.concatenate([*covered_before, np.full(remainder, 2.0)])  # coverage is 1 at most
        order = np.argsort(priority, kind="stable")
        chosen = order[_first_occurrences(ids[order], len(keepable))]
        return cls(
            ids=ids[chosen],
            languages=np.concatenate([*languages, np.full(remainder, -1)])[chosen],
            ranks=np.concatenate([*ranks, np.zeros(len(idle), np.int64)])[chosen],
            names=tuple(statistics.counts),
            minimums=tuple(map(len, minimums)),
            measure="weighted frequency" if loss is None else "expected loss",
        )

    def occurs(self, index: int) -> bool:
        """Whether the token at this index occurs in the counted text."""
        return bool(self.ranks[index])

    def reason(self, index: int) -> str:
        """Why the token at this index is offered a row."""
        language, rank = int(self.languages[index]), int(self.ranks[index])
        if language >= 0:
            return f"minimum of {self.names[language]}: rank {rank:,} of {self.minimums[language]:,}"
        return f"{self.measure} rank {rank:,}" if rank else "does not occur here; the budget had room"


def _minimums(
    statistics: CorpusStatistics, possible: NDArray[np.bool_], coverage: float
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]]]:
    """By language, the ids of its minimum and the coverage that the tokens before each of them reach."""
    minimums, covered_before = [], []
    for counts in statistics.counts.values():
        order = _descending(np.where(possible, counts, 0))
        covered = (np.cumsum(counts[order]) - counts[order]) / max(int(counts[order].sum()), 1)
        minimums.append(order[covered < coverage])
        covered_before.append(covered[covered < coverage])
    return minimums, covered_before


def _first_occurrences(ids: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The index at which each distinct id, all below ``size``, occurs first; sorted."""
    first = np.full(size, -1)
    # Written from the end, the first index is what stays.
    first[ids[::-1]] = np.arange(len(ids))[::-1]
    return np.sort(first[first >= 0])


def _descending(score: NDArray[Any]) -> NDArray[np.int64]:
    """Ids with a positive score, the highest first, ties by id."""
    positive = np.flatnonzero(score > 0)
    return positive[np.argsort(-score[positive], kind="stable")]


def _by_loss(frequencies: NDArray[np.float64], minimum: NDArray[np.int64], loss: Loss) -> NDArray[np.int64]:
    """Ids with a positive frequency, the highest frequency times loss first.

    What is lost with a token depends on what else is kept, so they are ranked in steps, each on top of all before it.
    """
    order = np.zeros(0, np.int64)
    remaining = frequencies.copy()
    while remaining.any():
        kept = np.concatenate([minimum, order])
        # Tokens that occur stay before those that do not, even if nothing is lost without them.
        ranked = _descending(remaining * np.maximum(loss(kept), _LEAST_LOSS))
        order = np.concatenate([order, ranked[: max(int(_STEP * len(kept)), _LEAST_STEP)]])
        remaining[order] = 0
    return order


def _weighted_frequencies(statistics: CorpusStatistics, occurrences: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Sum over the languages of weight times occurrences, relative to the size of the counted text; by teacher id."""
    shares = [
        statistics.weights[lang] * occurrences[lang] / max(int(count.sum()), 1)
        for lang, count in statistics.counts.items()
    ]
    return np.asarray(np.sum(shares, axis=0), np.float64)
