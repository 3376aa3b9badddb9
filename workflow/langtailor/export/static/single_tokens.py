"""What a model says of each token alone, from which model2vec makes a static model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from langtailor.progress import Progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

_TOKENS_AT_ONCE = 256


def single_token_vectors(model: SentenceTransformer, tokenizer: Tokenizer, count: int) -> NDArray[np.float32]:
    """Vectors of texts that are one token each, between the special tokens that a text has, and without a prompt.

    Args:
        model: the student.
        tokenizer: its tokenizer, without limits.
        count: the ids are 0 to ``count - 1``.

    Returns:
        float32, shape (count, d); zeros for ids that the student has no embedding for, such as Gemma's image token.
    """
    before, after = _special_tokens(tokenizer)
    transformer: Any = model.transformers_model
    embedded = min(count, transformer.get_input_embeddings().num_embeddings)
    parts = []
    with Progress("tokens one by one", embedded, "token") as progress, torch.inference_mode():
        for start in range(0, embedded, _TOKENS_AT_ONCE):
            numbers = range(start, min(start + _TOKENS_AT_ONCE, embedded))
            ids = torch.tensor([[*before, number, *after] for number in numbers], device=model.device)
            encoded = model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["sentence_embedding"]
            parts.append(encoded.float().cpu().numpy())
            progress.update(len(numbers))
    vectors = np.concatenate(parts)
    return np.pad(vectors, ((0, count - len(vectors)), (0, 0)))


def _special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids that come before and after every text."""
    encoding = tokenizer.encode("a")
    special = encoding.special_tokens_mask
    before = next((place for place, is_special in enumerate(special) if not is_special), 0)
    after = next((place for place, is_special in enumerate(reversed(special)) if not is_special), 0)
    return encoding.ids[:before], encoding.ids[len(encoding.ids) - after :]
