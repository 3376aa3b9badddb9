"""Section of the page: the variants of a run side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langtailor.evaluation.comparison import Comparison
from langtailor.report import plots
from langtailor.report.formats import figure, millions, two_decimals
from langtailor.report.plots import Plot
from langtailor.report.scores import FERTILITY, SPEED, main_rows
from langtailor.student.retention import retained


@dataclass(frozen=True)
class Variant:
    """What the sweep compares of a variant.

    Attributes:
        name: the variant's name.
        vocabulary_size: the student's tokens.
        parameters: the student's parameters.
        comparisons: its evaluation.
    """

    name: str
    vocabulary_size: int
    parameters: int
    comparisons: Sequence[Comparison]

    @property
    def main(self) -> Mapping[str, Comparison]:
        """The main figure of each task."""
        return {row.task: row for row in main_rows(self.comparisons)}

    def student_score(self, task: str) -> float:
        """The student's main figure of a task."""
        row = self.main[task]
        return row.scores[row.student].value

    @property
    def fertility(self) -> Mapping[str | None, float]:
        """The student's tokens per word by language."""
        return {row.group: row.scores[row.student].value for row in self.comparisons if row.metric == FERTILITY}


@dataclass(frozen=True)
class Sweep:
    """The table and the plots of the section."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    plots: Sequence[Plot]


def sweep(variants: Sequence[Variant], targets: Sequence[str]) -> Sweep:
    """What each variant costs and what it keeps of the teacher."""
    tasks, speed = _retained_tasks(variants), _speed_task(variants[0])
    languages = [lang for lang in targets if all(lang in variant.fertility for variant in variants)]
    compared = [*tasks, *([speed] if speed else [])]
    columns = ["tokens", "parameters", *(f"tokens a word, {lang}" for lang in languages), *compared]
    rows = [{"name": variant.name, "cells": _cells(variant, languages, compared)} for variant in variants]
    return Sweep(columns, rows, _trade_offs(variants, tasks, speed))


def _retained_tasks(variants: Sequence[Variant]) -> list[str]:
    """Tasks of which all variants retain a share, but for speed."""
    return [
        task
        for task, row in variants[0].main.items()
        if row.metric != SPEED and all(retained(variant.main[task]) is not None for variant in variants)
    ]


def _speed_task(variant: Variant) -> str | None:
    return next((task for task, row in variant.main.items() if row.metric == SPEED), None)


def _cells(variant: Variant, languages: Sequence[str], tasks: Sequence[str]) -> list[str]:
    return [
        f"{variant.vocabulary_size:,}",
        millions(variant.parameters),
        *(two_decimals(variant.fertility[lang]) for lang in languages),
        *(figure(variant.student_score(task)) for task in tasks),
    ]


def _trade_offs(variants: Sequence[Variant], tasks: Sequence[str], speed: str | None) -> list[Plot]:
    shares = {task: [retained(variant.main[task]) or 0.0 for variant in variants] for task in tasks}
    axes = {"parameters, millions": [variant.parameters / 1e6 for variant in variants]}
    if speed:
        axes[SPEED] = [variant.student_score(speed) for variant in variants]
    caption = "Main figure of each task, student over teacher, against the student's {}."
    names = [variant.name for variant in variants]
    return [
        Plot(plots.trade_off(shares, x, names, label), caption.format(label)) for label, x in axes.items() if shares
    ]
