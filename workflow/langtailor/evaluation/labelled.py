"""Texts with labels, for tasks on frozen vectors."""

from __future__ import annotations

import re
from pathlib import Path

from langtailor.errors import SourceError
from langtailor.evaluation.task import VectorTask
from langtailor.sources.table_files import read_table

_WHOLE = re.compile(r"(-?\d+)\.0+")


class LabelledTask(VectorTask):
    """A task on files of texts with labels."""

    text: str | int = "text"
    """Name of the text's column; a number counts columns of a file without a header."""
    label: str | int = "label"
    """The label's column."""

    def read(self, path: str) -> tuple[list[str], list[str]]:
        """Texts and their labels; a whole number is one label, whether a file has it as 1 or as 1.0.

        Raises:
            SourceError: the file cannot be read, a column or a value is missing, or fewer than two labels occur.
        """
        table = read_table(Path(path), (self.text, self.label))
        texts, labels = table.texts(self.text), [_label(text) for text in table.texts(self.label)]
        if len(set(labels)) < 2:
            raise SourceError(f"{path}: the column {self.label!r} has {len(set(labels))} labels; at least 2 are needed")
        return texts, labels


def _label(text: str) -> str:
    """A label, without the decimals that a column of whole numbers has where another of its values is missing."""
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text
