"""An export with the student's own preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from langtailor.export.client import Client

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class ExportedModel:
    """What :class:`langtailor.models.encoder.Encoder` asks of a model, with the arithmetic of an export.

    Args:
        student: the sentence-transformers model that was exported.
        client: its export.
    """

    device = torch.device("cpu")

    def __init__(self, student: SentenceTransformer, client: Client) -> None:
        self._student, self._client = student, client
        self.tokenizer = student.tokenizer

    def preprocess(self, texts: list[str], **options: Any) -> dict[str, Any]:
        """The student's own preprocessing."""
        return dict(self._student.preprocess(texts, **options))

    def get_embedding_dimension(self) -> int | None:
        """Length of a vector."""
        return self._student.get_embedding_dimension()

    def __call__(self, features: dict[str, Any]) -> dict[str, Tensor]:
        """``sentence_embedding``: float32, shape (texts, dimension)."""
        vectors = self._client.run({name: features[name].numpy() for name in self._client.inputs})
        return {"sentence_embedding": torch.from_numpy(vectors)}

    def as_model(self) -> SentenceTransformer:
        """Itself, in the form in which tasks use a model."""
        return cast("SentenceTransformer", self)
