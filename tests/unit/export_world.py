"""Exports of tiny models, for the tests of what opens them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from langtailor.config.teacher import TeacherSettings
from langtailor.export.format import Source, find_format
from langtailor.export.formats import register_formats
from langtailor.export.run import write_export
from langtailor.models.loading import load_teacher
from langtailor.student.limits import unify_limits
from tests.models import (
    MAX_LENGTH,
    make_tiny_bert_teacher,
    make_tiny_gemma_teacher,
    make_tiny_modernbert_teacher,
    make_tiny_qwen3_teacher,
    make_tiny_xlmr_teacher,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MAKERS = {
    "bert": make_tiny_bert_teacher,
    "xlmr": make_tiny_xlmr_teacher,
    "gemma": make_tiny_gemma_teacher,
    "qwen3": make_tiny_qwen3_teacher,
    "modernbert": make_tiny_modernbert_teacher,
}
register_formats()


def make_student(root: Path, kind: str) -> tuple[SentenceTransformer, Path]:
    """A tiny model with one length limit, as a run publishes it: loaded, and its folder."""
    folder = MAKERS[kind](root / "student")
    unify_limits(folder, MAX_LENGTH)
    (folder / "README.md").write_text("# a card\n", encoding="utf-8")
    return load_teacher(folder, TeacherSettings(model="tiny"), "cpu"), folder


def make_export(model: SentenceTransformer, student: Path, name: str) -> Path:
    """The folder of an export beside the student's."""
    made, out = find_format(name), student.parent / name
    next(
        write_export(
            made, Source(student, model, "", made.bounds, ["deniz mavi", "the old ferry"], student.parent), out
        )
    )
    return out


def student_ids(model: SentenceTransformer, texts: list[str]) -> list[list[int]]:
    """Ids of texts by the student's own preprocessing."""
    return [model.preprocess([text])["input_ids"][0].tolist() for text in texts]
