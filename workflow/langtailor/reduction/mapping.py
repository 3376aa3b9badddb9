"""Another encoder's vectors in the teacher's space: an affine map, fitted to stored vectors, as training starts.

With the encoder fixed, the map whose results are nearest to the teacher's vectors is the solution of a linear least-squares
problem. A teacher's vectors often share a direction, which an encoder's do not: without a bias the map would spend what tells
texts apart on that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from langtailor.config.teacher import TeacherSettings
from langtailor.corpus.reading import read_texts
from langtailor.errors import ConfigError
from langtailor.models.encoder import Encoder
from langtailor.models.folder import ModelInfo, scales_to_unit_length
from langtailor.models.loading import load_teacher
from langtailor.models.prompts import find_prompt
from langtailor.models.similarity import COSINE, unit
from langtailor.storage.json_files import load_json
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")
Floats = NDArray[np.float32]
#: Training passages of all languages together. They come in the order of a hash, so that the first ones are a sample.
_PASSAGES = 8_192
#: Of these one in ten, and at least one, chooses the strength of the ridge.
_HELD_OUT, _RIDGES = 10, (1e-4, 1e-3, 1e-2, 1e-1)
#: One to choose by and two to fit to: a single one has no variance.
_LEAST_PASSAGES = 3
_BATCH_TOKENS = 16_384


@dataclass(frozen=True)
class AffineMap:
    """``x W' + b``.

    Attributes:
        weights: float32, shape (k, d).
        bias: float32, shape (k,).
    """

    weights: Floats
    bias: Floats

    def __call__(self, rows: Floats) -> Floats:
        """Rows of shape (n, d) as rows of shape (n, k)."""
        mapped: Floats = rows @ self.weights.T + self.bias
        return mapped


def fit_map(
    model: Path,
    corpora: Mapping[str, Path],
    vectors: Mapping[str, Sequence[Path]],
    reading: TeacherSettings,
    projection: Floats | None,
    device: str = "cpu",
) -> tuple[AffineMap, float]:
    """The map from a model's vectors, before they are scaled to length 1, to the teacher's of the same passages.

    Args:
        model: the model, a sentence-transformers folder.
        corpora: ``corpus/{lang}.parquet`` by language; the training split is read.
        vectors: shards with the teacher's vectors by language, in order.
        reading: how the model reads a text.
        projection: shape (k, d_teacher), of the teacher's vectors; ``None`` takes them as they are.
        device: ``cpu`` or ``cuda``.

    Returns:
        The map, and the mean cosine of what it gives to the teacher's vectors on passages that it was not fitted to.

    Raises:
        ArtifactError: an input is damaged.
        ConfigError: the training split has fewer than three passages.
    """
    own, stored = _pairs(model, corpora, vectors, reading, device)
    targets = stored if projection is None else unit(stored @ projection.T)
    held_out = np.arange(len(own)) % _HELD_OUT == 0
    fitted, rest = (own[~held_out], targets[~held_out]), (own[held_out], targets[held_out])
    maps = [least_squares(*fitted, ridge) for ridge in _RIDGES]
    cosines = [float(COSINE.pairs(unit(each(rest[0])), rest[1]).mean()) for each in maps]
    best = int(np.argmax(cosines))
    _LOG.info("mapped to the teacher's vectors: cosine %.4f, with a ridge of %g", cosines[best], _RIDGES[best])
    return maps[best], cosines[best]


def least_squares(own: Floats, targets: Floats, ridge: float) -> AffineMap:
    """The affine map from rows to target rows with the least squared error.

    Args:
        own: shape (n, d).
        targets: shape (n, k).
        ridge: weight of the weights' squared norm, relative to the mean eigenvalue of the rows' covariance.
    """
    mean, target_mean = (rows.mean(axis=0, dtype=np.float64) for rows in (own, targets))
    rows, wanted = own - mean, targets - target_mean
    moments = rows.T @ rows
    moments += ridge * np.trace(moments) / len(moments) * np.eye(len(moments))
    weights = np.linalg.solve(moments, rows.T @ wanted).T
    return AffineMap(weights.astype(np.float32), (target_mean - weights @ mean).astype(np.float32))


def _pairs(
    model: Path,
    corpora: Mapping[str, Path],
    vectors: Mapping[str, Sequence[Path]],
    reading: TeacherSettings,
    device: str,
) -> tuple[Floats, Floats]:
    """Vectors of the model, not scaled, and of the teacher, of length 1, for the same training passages."""
    loaded, info = load_teacher(model, reading, device), ModelInfo.read(model)
    scaled = scales_to_unit_length(load_json(model / "modules.json"))
    unscaled = torch.nn.Sequential(*list(loaded)[: len(loaded) - scaled])
    own, stored = [], []
    for lang, corpus in corpora.items():
        if texts := read_texts(corpus, "train", max(1, _PASSAGES // len(corpora))):
            prompt = find_prompt(info, reading.for_language(lang).prompt)
            encoder = Encoder(loaded, prompt, _BATCH_TOKENS, lambda features: unscaled(features)["sentence_embedding"])
            own.append(encoder.encode(texts, f"encoding {lang}"))
            stored.append(unit(VectorStore.open(list(vectors[lang]), "train").take(np.arange(len(texts)))))
    if (passages := sum(map(len, own))) < _LEAST_PASSAGES:
        raise ConfigError(
            "corpus.quotas.train",
            f"found {passages} passages to fit the student's vectors to the teacher's; at least {_LEAST_PASSAGES} are needed",
        )
    return np.concatenate(own), np.concatenate(stored)
