"""How fast a model encodes. The clock depends on the machine and on what else runs there: compare within one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from langtailor.evaluation.encoding import BATCH_TOKENS
from langtailor.evaluation.scores import Score
from langtailor.models.encoder import Encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_PASSES = 3


def speed_scores(model: SentenceTransformer, prompt: str, texts: Sequence[str]) -> tuple[Score, ...]:
    """Passages and tokens a second: the median of three passes after one that warms up.

    Args:
        model: any sentence-transformers model.
        prompt: put before each text.
        texts: the passages.
    """
    encoder = Encoder(model, prompt, BATCH_TOKENS)
    encoder.encode(texts, "warming up")
    tokens = encoder.tokens
    seconds = []
    for number in range(1, _PASSES + 1):
        started = time.perf_counter()
        encoder.encode(texts, f"pass {number} of {_PASSES}")
        seconds.append(time.perf_counter() - started)
    typical = median(seconds)
    return (
        Score("passages per second", round(len(texts) / typical, 2), None, None, len(texts)),
        Score("tokens per second", round(tokens / typical, 2), None, None, len(texts)),
    )
