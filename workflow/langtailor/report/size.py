"""Section of the page: sizes of teacher and student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langtailor.models.folder import ModelInfo


@dataclass(frozen=True)
class SizeRow:
    """A size of both models.

    Attributes:
        label: what is counted.
        teacher: the teacher's.
        student: the student's.
        ratio: student / teacher.
    """

    label: str
    teacher: str
    student: str
    ratio: str


def size_rows(teacher: ModelInfo, student: ModelInfo) -> Sequence[SizeRow]:
    """Parameters, bytes and tokens of both models."""
    sizes = {
        "parameters": (teacher.parameters, student.parameters),
        "of these, token embeddings": (
            teacher.vocabulary_size * teacher.hidden_size,
            student.vocabulary_size * student.hidden_size,
        ),
        "weights on disk, bytes": (teacher.weight_bytes, student.weight_bytes),
        "tokens in the vocabulary": (teacher.vocabulary_size, student.vocabulary_size),
    }
    return [SizeRow(label, f"{old:,}", f"{new:,}", f"{new / old:.2f}") for label, (old, new) in sizes.items()]
