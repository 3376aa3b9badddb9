"""Section of the page: scores of teacher and student and of the steps between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from langtailor.config.variants import STEPS
from langtailor.evaluation.comparison import Comparison, main_rows
from langtailor.report import plots
from langtailor.report.language_matrix import LanguageMatrix, language_matrices
from langtailor.report.plots import Plot
from langtailor.sources.collection import language_pair

FERTILITY, AGREEMENT, SPEED = "tokens per word", "cosine", "passages per second"
#: Rows of a task in the first table of scores: twelve languages and all together.
_MOST_ROWS = 13


@dataclass(frozen=True)
class ScorePart:
    """What the page says of a variant's scores.

    Attributes:
        steps: names of its steps, by step.
        tables: rows of each table, of which the first has every task.
        language_matrices: figures for every pair of languages.
        plots: the main figures.
    """

    steps: Mapping[str, str]
    tables: Sequence[Sequence[Comparison]]
    language_matrices: Sequence[LanguageMatrix]
    plots: Sequence[Plot]

    @classmethod
    def of(cls, steps: Iterable[str], comparisons: Sequence[Comparison]) -> ScorePart:
        """The section of a variant with these steps and figures."""
        named = {step: STEPS[step] for step in steps}
        return cls(named, score_tables(comparisons), language_matrices(comparisons), score_plots(comparisons))


def score_tables(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """The rows of the tables of scores: of all but tokens per word and pairs of languages, which have their own.

    The first table has every task. Of one with many groups it has the main figure, and a further table has the others.
    """
    fertility_tasks = {row.task for row in comparisons if row.metric == FERTILITY}
    by_task: dict[str, list[Comparison]] = {}
    for row in comparisons:
        if row.task not in fertility_tasks and not language_pair(row.group):
            by_task.setdefault(row.task, []).append(row)
    long = [task for task, rows in by_task.items() if len(rows) > _MOST_ROWS]
    first = [row for task, rows in by_task.items() for row in (rows[:1] if task in long else rows)]
    return [first, *(by_task[task][1:] for task in long)]


def score_plots(comparisons: Sequence[Comparison]) -> list[Plot]:
    """Cosine to the stored vectors by language, and the main figure of each other task where more is better."""
    by_language = [row for row in comparisons if row.metric == AGREEMENT and row.group]
    others = [row for row in main_rows(comparisons) if row.metric not in (AGREEMENT, SPEED) and not row.less_is_better]
    drawn = []
    if by_language:
        svg = plots.dots([str(row.group) for row in by_language], _by_model(by_language), "cosine")
        drawn.append(Plot(svg, "Mean cosine to the teacher's stored vectors on the test split, by language."))
    if others:
        svg = plots.dots([row.task for row in others], _by_model(others), "score")
        drawn.append(Plot(svg, "Main figure of each other task."))
    return drawn


def _by_model(rows: Sequence[Comparison]) -> dict[str, list[float | None]]:
    """The figures of each step; ``None`` for a task that says nothing of it."""
    steps = max((row.scores for row in rows), key=len)
    return {STEPS[step]: [row.scores[step].value if step in row.scores else None for row in rows] for step in steps}
