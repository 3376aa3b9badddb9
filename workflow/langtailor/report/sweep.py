"""Section of the page: the variants of a run side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langtailor.evaluation.comparison import Comparison, main_rows
from langtailor.report import plots
from langtailor.report.formats import figure, millions, two_decimals
from langtailor.report.plots import Plot
from langtailor.report.scores import FERTILITY, SPEED
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
    """The section.

    Attributes:
        verdict: names the smallest variant that keeps enough of the teacher.
        columns: heads of the table.
        rows: ``name``, ``cells``, and ``on_front``: whether no other variant is as small and keeps as much.
        plots: what is kept against what it costs.
    """

    verdict: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    plots: Sequence[Plot]


def sweep(variants: Sequence[Variant], targets: Sequence[str], tolerance: float) -> Sweep:
    """What each variant costs and what it keeps of the teacher.

    Args:
        variants: two or more.
        targets: target languages.
        tolerance: percent of the teacher's figure that may be lost on each task.
    """
    tasks, speed = _retained_tasks(variants), _speed_task(variants[0])
    languages = [lang for lang in targets if all(lang in variant.fertility for variant in variants)]
    compared = [*tasks, *([speed] if speed else [])]
    columns = ["tokens", "parameters", *(f"tokens per word, {lang}" for lang in languages), *compared]
    shares = {variant.name: [retained(variant.main[task]) or 0.0 for task in tasks] for variant in variants}
    front = _front(variants, shares) if tasks else set()
    rows = [
        {"name": variant.name, "cells": _cells(variant, languages, compared), "on_front": variant.name in front}
        for variant in variants
    ]
    return Sweep(_verdict(variants, shares, tolerance), columns, rows, _trade_offs(variants, tasks, speed))


def _verdict(variants: Sequence[Variant], shares: Mapping[str, Sequence[float]], tolerance: float) -> str:
    """Which variant is the smallest that keeps enough; empty where no task says what is kept."""
    if not any(shares.values()):
        return ""
    enough = [variant for variant in variants if min(shares[variant.name]) >= 100 - tolerance]
    loss = f"{tolerance:g} % of the teacher on any task"
    if not enough:
        return f"Every variant loses more than {loss} (report.tolerance)."
    smallest = min(enough, key=lambda variant: variant.parameters)
    return (
        f"{smallest.name} is the smallest variant ({millions(smallest.parameters)}) that loses no more than {loss} "
        "(report.tolerance)."
    )


def _front(variants: Sequence[Variant], shares: Mapping[str, Sequence[float]]) -> set[str]:
    """The variants of which none is smaller, or as small, and keeps more in the mean over tasks (Pareto)."""
    kept = {name: sum(values) / len(values) for name, values in shares.items()}

    def is_beaten(variant: Variant) -> bool:
        return any(
            other.parameters <= variant.parameters
            and kept[other.name] >= kept[variant.name]
            and (other.parameters, kept[other.name]) != (variant.parameters, kept[variant.name])
            for other in variants
        )

    return {variant.name for variant in variants if not is_beaten(variant)}


def _retained_tasks(variants: Sequence[Variant]) -> list[str]:
    """Tasks with a retained share for all variants, except speed."""
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
