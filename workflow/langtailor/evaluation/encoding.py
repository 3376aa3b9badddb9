"""Encoding texts for an evaluation, with progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: Most tokens of a forward pass; halved when the device runs out of memory.
BATCH_TOKENS = 16_384


def encode_texts(model: SentenceTransformer, texts: Sequence[str], prompt: str, label: str) -> NDArray[np.float32]:
    """Unit vectors of texts.

    Args:
        model: any sentence-transformers model.
        texts: the texts.
        prompt: put before each text; empty for none.
        label: what the progress line says.

    Returns:
        float32, shape (texts, dimension), each row of length 1. Equal texts are encoded once.
    """
    from langtailor.models.encoder import Encoder

    distinct = list(dict.fromkeys(texts))
    vectors = Encoder(model, prompt, BATCH_TOKENS).encode(distinct, label)
    row = {text: index for index, text in enumerate(distinct)}
    return unit(vectors[[row[text] for text in texts]])


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
