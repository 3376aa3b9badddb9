"""The teacher's segmentation of tokens that it does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langtailor.surgery.unknowns import unknown_id
from langtailor.surgery.word_models import encode_words, model_of, word_tokenizer

if TYPE_CHECKING:
    from tokenizers import models


def segment(spec: Mapping[str, Any], tokens: Sequence[str]) -> list[tuple[int, ...]]:
    """Teacher ids of the pieces into which the teacher segments each new token, in the token's position in a word.

    A token's spelling (``▁ev``, ``Ġev``) is its text after normalization and pre-tokenization, so the model alone
    segments it: the spelling is not normalised again, a piece from inside a word gets no space in front, and no special
    token is added. A WordPiece continuation is segmented as a continuation: ``##lerden`` into ``##ler ##den``, not into
    ``ler ##den``. A token that the teacher has under the same name, a byte token too, is that one.

    Args:
        spec: the teacher's ``tokenizer.json``.
        tokens: new tokens in the family's spelling.

    Returns:
        Teacher ids by token. The unknown token is left out unless there is nothing else.
    """
    model, unknown = word_tokenizer(model_of(spec)), unknown_id(spec)
    prefix = spec["model"].get("continuing_subword_prefix")
    pieces = dict(zip(tokens, encode_words(model, tokens), strict=True))
    if prefix:
        continued = {token: token.removeprefix(prefix) for token in tokens if token.startswith(prefix)}
        inner = word_tokenizer(_continuation_model(spec, prefix))
        pieces |= dict(zip(continued, encode_words(inner, continued.values()), strict=True))
    existing = {token: i for token in tokens if (i := model.token_to_id(token)) is not None}
    return [(existing[t],) if t in existing else _without_unknown(pieces[t], unknown) for t in tokens]


def _without_unknown(ids: Sequence[int], unknown: int | None) -> tuple[int, ...]:
    return tuple(i for i in ids if i != unknown) or tuple(ids[:1])


def _continuation_model(spec: Mapping[str, Any], prefix: str) -> models.WordPiece:
    """A WordPiece model that segments a word as the continuation of an earlier piece: its tokens are continuations."""
    from tokenizers import models

    model = spec["model"]
    unknown = model["unk_token"]
    continued = {t.removeprefix(prefix): i for t, i in model["vocab"].items() if t.startswith(prefix) and t != prefix}
    return models.WordPiece(
        vocab={**continued, unknown: model["vocab"][unknown]},
        unk_token=unknown,
        continuing_subword_prefix="",
        max_input_chars_per_word=model["max_input_chars_per_word"],
    )
