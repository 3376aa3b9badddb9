"""What a format of exports is: how it is written, how it is read again, and what its card says."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from langtailor.config.export import Bounds, ExportFormat, export_formats
from langtailor.errors import ExportError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from langtailor.evaluation.task import EvaluationTask
    from langtailor.export.certificate import Cosines
    from langtailor.export.client import Client

_LOG = logging.getLogger("langtailor")


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
        corpora: corpus by language, for formats that learn from its training split.
    """

    folder: Path
    model: SentenceTransformer
    prompt: str
    bounds: Bounds
    texts: Sequence[str]
    scratch: Path
    corpora: Mapping[str, Path] = field(default_factory=dict)

    def training_texts(self, most: int) -> list[str]:
        """Texts of the training split, at most ``most`` of each language, the languages in turn.

        Raises:
            ExportError: there is none.
        """
        from langtailor.corpus.reading import read_texts

        by_language = [read_texts(corpus, "train", most) for _, corpus in sorted(self.corpora.items())]
        texts = [text for row in zip_longest(*by_language) for text in row if text is not None]
        if not texts:
            raise ExportError(
                "the export is fitted on the training split, which has no passage: raise corpus.quotas.train"
            )
        return texts

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
        tag: what the Hub calls the library that opens it.
        reads_as_student: whether it reads the student's tokens (the prompt, special ones, and those up to its limit) and gives
            vectors of the student's space.
    """

    file: ClassVar[str]
    tag: ClassVar[str]
    reads_as_student: ClassVar[bool] = True

    def prepare(self, source: Source, folder: Path) -> None:
        """Fill a folder, which must not exist, with what the export takes over from the student."""
        from langtailor.export.student_files import copy_student

        copy_student(source.folder, folder)

    def files(self, file: Path) -> list[Path]:
        """All files that the export's own file needs to be opened, itself among them."""
        return [file]

    def as_model(self, student: SentenceTransformer, client: Client) -> SentenceTransformer:
        """An export in the form in which tasks use a model."""
        from langtailor.export.runtime import ExportedModel

        return ExportedModel(student, client).as_model()

    def compared(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The student's vectors as those of the export are compared with them."""
        return vectors

    @abstractmethod
    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        """Write the file; where it was not near enough to the student, write it again in a way that is nearer.

        Args:
            source: the student.
            out: the file, in a folder that exists; others of :meth:`files` are written beside it.

        Yields:
            Each time that it is written, what the certificate says beside the figures.

        Raises:
            ExportError: the format cannot hold the model.
        """

    def write_nearer_and_nearer(
        self, source: Source, out: Path, ways: Mapping[str, Callable[[], None]]
    ) -> Iterator[dict[str, Any]]:
        """Write the file in one way after another, of which each is nearer to the student than the one before.

        Args:
            source: the student.
            out: the file.
            ways: what writes the file, by the name of the way.

        Yields:
            For each way that keeps the bounds on the validation texts, and for the last: its name (``way``), and the cosines
            of those tried so far.
        """
        tried: list[dict[str, Any]] = []
        for way, write in ways.items():
            write()
            cosines = source.cosines(self.client()(out, source.folder, threads=1), "validation texts")
            tried.append({"way": way, "mean_cosine": cosines.mean, "least_cosine": cosines.least})
            _LOG.info("%s: %s", way, cosines)
            if cosines.keep(source.bounds) or len(tried) == len(ways):
                yield {"way": way, "tried": [*tried]}

    def is_judged_by(self, task: EvaluationTask, languages: Sequence[str]) -> bool:
        """Whether a task needs no more than vectors, nor such as are compared with the teacher's where these are others."""
        needs = task.needs(languages)
        return task.of_vectors and (self.reads_as_student or not (needs.vectors or needs.teacher))

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
