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
    """Vectors of texts.

    Args:
        model: any sentence-transformers model.
        texts: the texts.
        prompt: put before each text; empty for none.
        label: what the progress line says.

    Returns:
        float32, shape (texts, dimension). Equal texts are encoded once.
    """
    from langtailor.models.encoder import Encoder

    distinct = list(dict.fromkeys(texts))
    vectors = Encoder(model, prompt, BATCH_TOKENS).encode(distinct, label)
    row = {text: index for index, text in enumerate(distinct)}
    return vectors[[row[text] for text in texts]]
