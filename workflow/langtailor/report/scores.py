"""Section of the page: scores of teacher and student and of the steps between them, and the headline figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from langtailor.config.variants import STEPS
from langtailor.evaluation.collection import language_pair
from langtailor.evaluation.comparison import Comparison
from langtailor.models.folder import ModelInfo
from langtailor.report import plots
from langtailor.report.formats import figure, millions
from langtailor.report.plots import Plot

FERTILITY, _AGREEMENT, SPEED = "tokens per word", "cosine", "passages per second"


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    label: str
    value: str
    note: str


def tiles(
    teacher: ModelInfo, student: ModelInfo, comparisons: Sequence[Comparison], targets: Sequence[str]
) -> list[Tile]:
    """Size, tokens per word of the target languages, and the main figure of each other task."""
    share = student.parameters / teacher.parameters
    sizes = [
        Tile("parameters", millions(student.parameters), f"{share:.0%} of {millions(teacher.parameters)}"),
        Tile("tokens", f"{student.vocabulary_size:,}", f"teacher: {teacher.vocabulary_size:,}"),
    ]
    fertility = fertility_by_language(comparisons)
    fertile = [_fertility_tile(lang, fertility[lang]) for lang in targets if lang in fertility]
    return [*sizes, *fertile, *(_task_tile(row) for row in main_rows(comparisons) if row.metric != FERTILITY)]


def _fertility_tile(lang: str, row: Comparison) -> Tile:
    note = f"teacher: {row.scores['teacher'].value:.2f}"
    return Tile(f"tokens a word, {lang}", f"{row.scores[row.student].value:.2f}", note)


def _task_tile(row: Comparison) -> Tile:
    scores = row.scores
    before = [step for step in reversed(list(scores)) if step != row.student]
    note = ", ".join(f"{STEPS[step]} {figure(scores[step].value)}" for step in before)
    return Tile(f"{row.task}: {row.metric}", figure(scores[row.student].value), note)


def fertility_by_language(comparisons: Sequence[Comparison]) -> Mapping[str, Comparison]:
    """The comparisons of tokens per word, by language."""
    return {row.group: row for row in comparisons if row.metric == FERTILITY and row.group}


def main_rows(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The main figure of each task: its first."""
    first: dict[str, Comparison] = {}
    for row in comparisons:
        first.setdefault(row.task, row)
    return list(first.values())


def score_rows(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The rows of the table of scores: all but tokens per word and pairs of languages, which have tables of their own."""
    fertility_tasks = {row.task for row in comparisons if row.metric == FERTILITY}
    return [row for row in comparisons if row.task not in fertility_tasks and not language_pair(row.group)]


def score_plots(comparisons: Sequence[Comparison]) -> list[Plot]:
    """Cosine to the stored vectors by language, and the main figure of each other task where more is better."""
    by_language = [row for row in comparisons if row.metric == _AGREEMENT and row.group]
    others = [row for row in main_rows(comparisons) if row.metric not in (_AGREEMENT, SPEED) and not row.less_is_better]
    drawn = []
    if by_language:
        svg = plots.grouped_bars([str(row.group) for row in by_language], _by_model(by_language), "cosine")
        drawn.append(Plot(svg, "Mean cosine to the teacher's stored vectors on the test split, by language."))
    if others:
        svg = plots.grouped_bars([row.task for row in others], _by_model(others), "score")
        drawn.append(Plot(svg, "Main figure of each other task."))
    return drawn


def _by_model(rows: Sequence[Comparison]) -> dict[str, list[float]]:
    return {STEPS[step]: [row.scores[step].value for row in rows] for step in rows[0].scores}
