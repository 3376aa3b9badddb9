"""A model that is evaluated."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError
from langtailor.evaluation.encoding import encode_texts
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_teacher
from langtailor.models.prompts import Role, find_prompt, role_prompt
from langtailor.models.similarity import Similarity
from langtailor.storage.artifacts import directory_digest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")


class Evaluator:
    """One model, ready to be evaluated.

    Args:
        model: a sentence-transformers folder.
        teacher: how the teacher is read; clone and student are read the same way.
        resamples: bootstrap resamples for each interval.
        seed: seeds the bootstrap; the same for all models, so that their figures are paired.
        device: ``cpu`` or ``cuda``.

    Attributes:
        folder: the model's folder.
        prompt: put before each text that is not of the corpus.
        similarity: how the model compares vectors.
        dimension: length of its vectors.
    """

    def __init__(self, model: Path, teacher: TeacherSettings, resamples: int, seed: int, device: str) -> None:
        self.folder, self.resamples, self.seed = model, resamples, seed
        self._info = ModelInfo.read(model)
        self.dimension = self._info.dimension
        self.prompt = find_prompt(self._info, teacher.prompt)
        self.similarity = Similarity(self._info.similarity)
        self._teacher, self._device = teacher, device

    @cached_property
    def digest(self) -> str:
        """Digest of the model's manifest."""
        return directory_digest(self.folder)

    @property
    def made_by(self) -> list[Any]:
        """What figures depend on besides the texts: the model, how it is read, and the bootstrap; JSON-ready."""
        return [self.digest, self._teacher.model_dump(mode="json"), self.resamples, self.seed, self._device]

    @cached_property
    def model(self) -> SentenceTransformer:
        """The model, loaded when first needed: some tasks need only its tokenizer."""
        return load_teacher(self.folder, self._teacher, self._device)

    def language_prompt(self, lang: str) -> str:
        """The prompt before text of a language of the corpus."""
        return find_prompt(self._info, self._teacher.for_language(lang).prompt)

    def role_prompt(self, role: Role) -> str | None:
        """The model's own prompt for a role; see :func:`~langtailor.models.prompts.role_prompt`."""
        return role_prompt(self._info, role)

    def vectors(
        self,
        texts: Sequence[str],
        label: str,
        prompt: str | None = None,
        width: int | None = None,
        similarity: Similarity | None = None,
    ) -> NDArray[np.float32]:
        """Vectors of texts, ready to be compared.

        Args:
            texts: the texts.
            label: what the progress line says.
            prompt: put before each text: the name of one of the model's prompts, or the prompt itself; ``None`` takes
                the teacher's.
            width: keep only this many of the first components.
            similarity: how they will be compared; ``None`` means as the model says.

        Returns:
            float32, shape (texts, d); rows of length 1 for the cosine.

        Raises:
            ConfigError: ``width`` is more than the model has, or it has no prompt of this name.
        """
        if width is not None and width > self.dimension:
            raise ConfigError(
                "evaluation.tasks",
                f"truncate_dim {width} is more than the {self.dimension} dimensions of {self.folder}",
            )
        text_before = self.text_before(prompt)
        if text_before:
            _LOG.info("%s with prompt %r", label, text_before)
        return self.prepared(encode_texts(self.model, texts, text_before, label), width, similarity)

    def text_before(self, prompt: str | None) -> str:
        """The prompt text before each text, empty for none; for ``prompt`` see :meth:`vectors`."""
        return self.prompt if prompt is None else find_prompt(self._info, prompt, "evaluation.tasks")

    def prepared(
        self, vectors: NDArray[np.float32], width: int | None = None, similarity: Similarity | None = None
    ) -> NDArray[np.float32]:
        """The model's vectors, ready to be compared; see :meth:`vectors`."""
        prepare = (similarity or self.similarity).prepare
        whole = prepare(vectors)
        return whole if width is None else prepare(whole[:, :width])
