"""An export in the place of its student, for the evaluation tasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.evaluator import Evaluator
from langtailor.export.client import Client
from langtailor.export.format import Format
from langtailor.storage.digests import sha256_bytes, sha256_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class ExportEvaluator(Evaluator):
    """A student's export, evaluated as the student is.

    Args:
        folder: the student's folder.
        student: the student, loaded from it.
        file: the export's file, which may have yet to be written.
        made: its format.
        opened: opens it.
        teacher: how the teacher is read; the student is read the same way.
        resamples: bootstrap resamples for each interval.
        seed: seeds the bootstrap.
    """

    def __init__(
        self,
        folder: Path,
        student: SentenceTransformer,
        file: Path,
        made: Format,
        opened: Callable[[], Client],
        teacher: TeacherSettings,
        resamples: int,
        seed: int,
    ) -> None:
        super().__init__(folder, teacher, resamples, seed, "cpu")
        self._student, self._file, self._made, self._opened = student, file, made, opened

    @cached_property
    def client(self) -> Client:
        """The export, opened when first needed."""
        return self._opened()

    @cached_property
    def digest(self) -> str:
        """Digest of the file, or of all that the format has."""
        digests = [sha256_file(file) for file in self._made.files(self._file)]
        return digests[0] if len(digests) == 1 else sha256_bytes("".join(digests).encode())

    @cached_property
    def model(self) -> SentenceTransformer:
        """The export, in the form in which tasks use a model."""
        return self._made.as_model(self._student, self.client)

    def text_before(self, prompt: str | None) -> str:
        """As for any model, but nothing where the format reads no prompt."""
        return super().text_before(prompt) if self._made.reads_as_student else ""
