"""Another encoder's vectors in the teacher's space: a linear map, fitted to stored vectors, as training starts.

With the encoder fixed, the map whose results are nearest to the teacher's vectors is the solution of a linear least-squares
problem. Lengths do not matter where vectors are scaled to length 1 in the end, so that it is fitted on vectors of length 1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langtailor.config.teacher import TeacherSettings
from langtailor.corpus.reading import read_texts
from langtailor.errors import ConfigError
from langtailor.models.encoder import Encoder
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_teacher
from langtailor.models.prompts import find_prompt
from langtailor.models.similarity import COSINE, unit
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")
Floats = NDArray[np.float32]
#: Training passages of all languages together. They come in the order of a hash, so that the first ones are a sample.
_PASSAGES = 8_192
#: Of these one in ten chooses the strength of the ridge, relative to the mean of the squared singular values.
_HELD_OUT, _RIDGES = 10, (1e-4, 1e-3, 1e-2, 1e-1)
_BATCH_TOKENS = 16_384


def fit_map(
    model: Path,
    corpora: Mapping[str, Path],
    vectors: Mapping[str, Sequence[Path]],
    reading: TeacherSettings,
    components: Floats | None,
) -> tuple[Floats, float]:
    """The linear map from a model's vectors to the teacher's of the same passages.

    Args:
        model: the model, a sentence-transformers folder.
        corpora: ``corpus/{lang}.parquet`` by language; the training split is read.
        vectors: shards with the teacher's vectors by language, in order.
        reading: how the model reads a text.
        components: shape (k, d_teacher), to which the teacher's vectors are projected; ``None`` takes them as they are.

    Returns:
        The map, float32, shape (k or d_teacher, d_model), and the mean cosine of what it gives to the teacher's vectors on
        passages that it was not fitted to.

    Raises:
        ArtifactError: an input is damaged.
        ConfigError: the training split has fewer than two passages.
    """
    own, stored = _pairs(model, corpora, vectors, reading)
    targets = stored if components is None else unit(stored @ components.T)
    held_out = np.arange(len(own)) % _HELD_OUT == 0
    fitted, rest = (own[~held_out], targets[~held_out]), (own[held_out], targets[held_out])
    maps = [least_squares(*fitted, ridge) for ridge in _RIDGES]
    cosines = [float(COSINE.pairs(unit(rest[0] @ weights.T), rest[1]).mean()) for weights in maps]
    best = int(np.argmax(cosines))
    _LOG.info("mapped to the teacher's vectors: cosine %.4f, with a ridge of %g", cosines[best], _RIDGES[best])
    return maps[best], cosines[best]


def least_squares(own: Floats, targets: Floats, ridge: float) -> Floats:
    """The linear map from rows to target rows with the least squared error.

    Args:
        own: shape (n, d).
        targets: shape (n, k).
        ridge: weight of the map's squared norm, relative to the mean eigenvalue of the rows' moments.

    Returns:
        float32, shape (k, d).
    """
    rows = own.astype(np.float64)
    moments = rows.T @ rows
    moments += ridge * np.trace(moments) / len(moments) * np.eye(len(moments))
    solution: Floats = np.linalg.solve(moments, rows.T @ targets.astype(np.float64)).T.astype(np.float32)
    return solution


def _pairs(
    model: Path, corpora: Mapping[str, Path], vectors: Mapping[str, Sequence[Path]], reading: TeacherSettings
) -> tuple[Floats, Floats]:
    """Vectors of the model and of the teacher for the same training passages; rows of length 1."""
    loaded, prompt = load_teacher(model, reading, "cpu"), find_prompt(ModelInfo.read(model), reading.prompt)
    own, stored = [], []
    for lang, corpus in corpora.items():
        if texts := read_texts(corpus, "train", max(1, _PASSAGES // len(corpora))):
            own.append(unit(Encoder(loaded, prompt, _BATCH_TOKENS).encode(texts, f"encoding {lang}")))
            stored.append(unit(VectorStore.open(list(vectors[lang]), "train").take(np.arange(len(texts)))))
    if sum(map(len, own)) < 2:
        raise ConfigError(
            "corpus.quotas.train", "there are no two passages to fit the student's vectors to the teacher's"
        )
    return np.concatenate(own), np.concatenate(stored)
