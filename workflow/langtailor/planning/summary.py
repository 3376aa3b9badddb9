"""What a run prints at its end: the main figure of each task for each step of each variant, and the paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from langtailor.config.variants import STEPS
from langtailor.storage.artifacts import read_json


def summary(root: Path, models: Mapping[str, Mapping[str, str]], tasks: Sequence[str]) -> list[str]:
    """The lines.

    Args:
        root: the run's folder.
        models: for each variant, the folder below ``evaluation/`` by step
            (:meth:`langtailor.config.run.Settings.compared`).
        tasks: names of the tasks.
    """
    lines = []
    for variant, steps in models.items():
        header = [variant, *(STEPS[step] for step in steps)]
        rows = [_row(root / "evaluation", steps, task) for task in tasks]
        lines += ["", *_aligned([header, *filter(None, rows)])] if any(rows) else []
    places = [("report", root / "report.html"), *(("model", root / "student" / variant) for variant in models)]
    return [*lines, "", *(f"{what}: {place}" for what, place in places if place.exists())]


def _row(folder: Path, steps: Mapping[str, str], task: str) -> list[str]:
    """The task's main figure for each step, empty for one that it says nothing of; nothing without one of the student."""
    files = [folder / place / f"{task}.json" for place in steps.values()]
    if not (files[0].is_file() and files[-1].is_file()):
        return []
    scores = {file: read_json(file, "evaluation")["scores"][0] for file in files if file.is_file()}
    first = scores[files[0]]
    group = f", {first['group']}" if first["group"] else ""
    values = (f"{scores[file]['value']:.4g}" if file in scores else "" for file in files)
    return [f"{task} ({first['metric']}{group})", *values]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a table with columns of equal width, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
