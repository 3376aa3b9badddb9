"""What an export's folder says of it: its card, and the rows that report and card share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from huggingface_hub import ModelCard, ModelCardData

from langtailor.export.certificate import KIND, Certificate
from langtailor.export.format import Format
from langtailor.storage.artifacts import read_json
from langtailor.student.markdown import markdown_template
from langtailor.student.model_index import eval_result

#: Heads of a card's two parts: of the export itself, and of the student.
OF_EXPORT, OF_STUDENT = "## This export", "## The exported model"

#: Column heads of the table of exports.
COLUMNS = (
    "format",
    "MB",
    "cosine, mean",
    "least",
    "sentences a second, one thread",
    "all threads",
    "one sentence, ms",
    "tasks, to the student",
)


def export_rows(folders: Mapping[str, Path]) -> list[list[str]]:
    """A row of the table for each export, by format; the first is the student under torch.

    Args:
        folders: the export's folder by format.

    Raises:
        ArtifactError: a certificate is damaged.
    """
    certificates = {name: read_json(folder / "certificate.json", KIND) for name, folder in folders.items()}
    rows = [_row(name, certificate) for name, certificate in certificates.items()]
    if not rows:
        return []
    first = next(iter(certificates.values()))
    student = first["student_sentences_per_s"]
    one, most = student["1"], list(student.values())[-1]
    size = f"{first['student_bytes'] / 1e6:,.1f}"
    return [["the student, torch", size, "", "", f"{one:,.0f}", f"{most:,.0f}", "", ""], *rows]


def _row(name: str, certificate: Mapping[str, Any]) -> list[str]:
    cosines = certificate["cosines"].values()
    speeds: Sequence[Mapping[str, float]] = certificate["speed"]
    return [
        name,
        f"{certificate['bytes'] / 1e6:,.1f}",
        f"{min(each['mean'] for each in cosines):.5f}",
        f"{min(each['least'] for each in cosines):.5f}",
        f"{speeds[0]['sentences_per_s']:,.0f}",
        f"{speeds[-1]['sentences_per_s']:,.0f}",
        f"{speeds[0]['latency_ms']:.1f} (95th percentile {speeds[0]['latency_95_ms']:.1f})",
        "; ".join(_task(task, figure) for task, figure in certificate["tasks"].items()),
    ]


def _task(name: str, figure: Mapping[str, Any]) -> str:
    difference = figure["difference"]
    if difference is None:
        return f"{name} {figure['export'] - figure['student']:+.3g}"
    interval = "" if difference["low"] is None else f" ({difference['low']:+.3g} to {difference['high']:+.3g})"
    return f"{name} {difference['value']:+.3g}{interval}"


def describe(folder: Path, made: Format, certificate: Certificate) -> None:
    """Make the student's card in an export's folder the export's: with its use, its figures and its scores.

    Args:
        folder: the export's, where ``certificate.json`` is already.
        made: its format.
        certificate: what was measured.
    """
    path = folder / "README.md"
    card = ModelCard(path.read_text(encoding="utf-8"))
    title, _, student = card.text.strip().partition("\n")
    card.text = markdown_template("langtailor.export", "card.md.jinja").render(
        title=title,
        format=made.name,
        of_export=OF_EXPORT,
        usage=made.usage(folder, certificate.inputs),
        columns=COLUMNS,
        rows=export_rows({made.name: folder}),
        of_student=OF_STUDENT,
        student=student.strip(),
    )
    data = cast(ModelCardData, card.data)
    data.tags = [*(data.tags or []), made.tag]
    if data.eval_results:  # the student's
        scores = [eval_result(name, task.metric, task.export) for name, task in certificate.tasks.items()]
        data.eval_results = scores or None
    path.write_text(str(card), encoding="utf-8")
