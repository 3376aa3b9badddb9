"""What a format of exports is: how it is written, how it is read again, and what its card says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from langtailor.config.export import Bounds, ExportFormat, export_formats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from langtailor.export.certificate import Cosines
    from langtailor.export.client import Client


@dataclass(frozen=True)
class Source:
    """What an export is made from.

    Attributes:
        folder: the student's.
        model: the student, in float32, on the CPU, in evaluation mode.
        prompt: put before each text.
        bounds: how near the export has to be.
        texts: what choices are made by.
        scratch: a folder for what is needed on the way.
    """

    folder: Path
    model: SentenceTransformer
    prompt: str
    bounds: Bounds
    texts: Sequence[str]
    scratch: Path

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """The student's vectors of the texts; float32, shape (texts, dimension)."""
        from langtailor.evaluation.encoding import encode_texts

        return encode_texts(self.model, self.texts, self.prompt, "validation texts, student")

    def cosines(self, client: Client, label: str) -> Cosines:
        """Cosines of an export's vectors of the texts to the student's."""
        from langtailor.evaluation.encoding import encode_texts
        from langtailor.export.certificate import Cosines
        from langtailor.export.runtime import ExportedModel

        exported = ExportedModel(self.model, client).as_model()
        return Cosines.between(encode_texts(exported, self.texts, self.prompt, f"{label}, export"), self.vectors)


class Format(ExportFormat, ABC):
    """A format that can be written. Each is a module of :mod:`langtailor.export.formats`.

    Attributes:
        file: where the export's folder holds it.
    """

    file: ClassVar[str]

    @abstractmethod
    def write(self, source: Source, out: Path) -> dict[str, Any]:
        """Write the file.

        Args:
            source: the student.
            out: the file, in a folder that exists.

        Returns:
            What the certificate says beside the figures.

        Raises:
            ExportError: the format cannot hold the model.
        """

    @abstractmethod
    def client(self) -> type[Client]:
        """What reads the file without torch."""

    @abstractmethod
    def usage(self, folder: Path, inputs: Sequence[str]) -> str:
        """Markdown for the card: how to use the file.

        Args:
            folder: the export's.
            inputs: what the client feeds to it.
        """


def find_format(name: str) -> Format:
    """A registered format."""
    return cast("type[Format]", export_formats()[name])()
