"""Retrieval across languages: a table of query languages and document languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langtailor.evaluation.comparison import Comparison
from langtailor.sources.collection import language_pair


@dataclass(frozen=True)
class LanguageMatrix:
    """The figures of a task for every pair of languages.

    Attributes:
        task: the task's name.
        metric: what is measured.
        columns: languages of the documents.
        rows: language of the queries, and its comparisons in the order of the columns.
    """

    task: str
    metric: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Comparison]]]


def language_matrices(comparisons: Sequence[Comparison]) -> list[LanguageMatrix]:
    """A matrix for each task that measures pairs of languages."""
    tasks = dict.fromkeys(row.task for row in comparisons if language_pair(row.group))
    return [_matrix(task, [row for row in comparisons if row.task == task]) for task in tasks]


def _matrix(task: str, comparisons: Sequence[Comparison]) -> LanguageMatrix:
    cells = {pair: row for row in comparisons if (pair := language_pair(row.group))}
    asking, answering = (list(dict.fromkeys(pair[side] for pair in cells)) for side in (0, 1))
    metric = next(iter(cells.values())).metric
    rows = [(query, [cells[query, document] for document in answering]) for query in asking]
    return LanguageMatrix(task, metric, answering, rows)
