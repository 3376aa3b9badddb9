"""The teacher's pieces for a token that it does not have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, models


def segment(spec: Mapping[str, Any], tokens: Sequence[str]) -> list[tuple[int, ...]]:
    """Teacher ids into which the teacher would cut the text of each new token, in the place where the token stands.

    A token's spelling (``▁ev``, ``Ġev``, ``##ler``) is what the tokenizer's model sees after normalization and
    pre-tokenization, so the model alone is asked: no normalizer reads the spelling as text, and no special token joins. A
    WordPiece continuation is cut as a continuation: ``##lerden`` into ``##ler ##den``, not into ``ler ##den``.

    Args:
        spec: the teacher's ``tokenizer.json``.
        tokens: new tokens in the family's own spelling.

    Returns:
        Teacher ids by token, the unknown token left out; empty where the teacher has no piece for the text.
    """
    model = Tokenizer.from_str(json.dumps(spec)).model
    unknown = spec["model"].get("unk_token") if spec["model"]["type"] != "Unigram" else None
    unknown_id = spec["model"].get("unk_id") if unknown is None else spec["model"]["vocab"].get(unknown)
    prefix = spec["model"].get("continuing_subword_prefix") if spec["model"]["type"] == "WordPiece" else None
    inner = _continuation_model(spec, prefix) if prefix else model
    return [
        tuple(
            piece.id
            for piece in (
                inner.tokenize(token.removeprefix(prefix)) if prefix and token.startswith(prefix) else model.tokenize(token)
            )
            if piece.id != unknown_id
        )
        for token in tokens
    ]


def _continuation_model(spec: Mapping[str, Any], prefix: str) -> models.WordPiece:
    """A WordPiece model that reads a word as if it went on from an earlier piece."""
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    inner = {token: i for token, i in vocabulary.items() if token.startswith(prefix)}
    unknown = spec["model"]["unk_token"]
    return models.WordPiece(
        vocab={**{token.removeprefix(prefix): i for token, i in inner.items()}, **inner, unknown: vocabulary[unknown]},
        unk_token=unknown,
        continuing_subword_prefix=prefix,
        max_input_chars_per_word=spec["model"].get("max_input_chars_per_word", 100),
    )
