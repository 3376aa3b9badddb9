"""A teacher as a run fetches it, and a folder as its users load it."""

from __future__ import annotations

from pathlib import Path

from sentence_transformers import SentenceTransformer

from langtailor.config.teacher import TeacherSettings
from langtailor.teacher.fetch import fetch_teacher


def fetched(original: Path) -> Path:
    """The run's copy of a teacher, next to the original."""
    out = original.parent / "fetched"
    fetch_teacher(TeacherSettings(model=str(original)), out)
    return out


def load(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)
