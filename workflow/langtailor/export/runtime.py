"""A graph behind the student's own preprocessing, for the evaluation tasks."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.evaluator import Evaluator
from langtailor.export.client import open_graph
from langtailor.storage.digests import sha256_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class GraphModel:
    """What :class:`langtailor.models.encoder.Encoder` asks of a model, with the arithmetic of a graph.

    Args:
        student: the sentence-transformers model whose graph it is.
        graph: the ``.onnx`` file.
    """

    device = torch.device("cpu")

    def __init__(self, student: SentenceTransformer, graph: Path) -> None:
        self._student, self._session = student, open_graph(graph, threads=1)
        #: Names of the graph's inputs.
        self.inputs = [entry.name for entry in self._session.get_inputs()]
        self.tokenizer = student.tokenizer

    def preprocess(self, texts: list[str], **options: Any) -> dict[str, Any]:
        """The student's own preprocessing."""
        return dict(self._student.preprocess(texts, **options))

    def get_embedding_dimension(self) -> int | None:
        """Length of a vector."""
        return self._student.get_embedding_dimension()

    def __call__(self, features: dict[str, Any]) -> dict[str, Tensor]:
        """``sentence_embedding``: float32, shape (texts, dimension)."""
        tensors = {name: features[name].numpy() for name in self.inputs}
        (vectors,) = self._session.run(["sentence_embedding"], tensors)
        return {"sentence_embedding": torch.from_numpy(vectors)}


class GraphEvaluator(Evaluator):
    """A student's export, evaluated as the student is.

    Args:
        folder: the student's folder.
        student: the student, loaded from it.
        graph: the ``.onnx`` file.
        teacher: how the teacher is read; the student is read the same way.
        resamples: bootstrap resamples behind each interval.
        seed: seeds the bootstrap.
    """

    def __init__(
        self,
        folder: Path,
        student: SentenceTransformer,
        graph: Path,
        teacher: TeacherSettings,
        resamples: int,
        seed: int,
    ) -> None:
        super().__init__(folder, teacher, resamples, seed, "cpu")
        self._student, self._graph = student, graph

    @cached_property
    def exported(self) -> GraphModel:
        """The graph, opened when first needed: it may have yet to be written."""
        return GraphModel(self._student, self._graph)

    @cached_property
    def digest(self) -> str:
        """Digest of the graph."""
        return sha256_file(self._graph)

    @cached_property
    def model(self) -> SentenceTransformer:
        """The graph, in the form in which tasks use a model."""
        return cast("SentenceTransformer", self.exported)
