"""The teacher's pieces for a token that it does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langtailor.surgery.unknowns import unknown_id
from langtailor.surgery.word_models import encode_words, model_of, word_tokenizer

if TYPE_CHECKING:
    from tokenizers import models


def segment(spec: Mapping[str, Any], tokens: Sequence[str]) -> list[tuple[int, ...]]:
    """Teacher ids into which the teacher would cut the text of each new token, in the place where the token stands.

    A token's spelling (``▁ev``, ``Ġev``) is its text after normalization and pre-tokenization, so the model alone is
    asked: nothing reads the spelling as text, no space is put before a piece from inside a word, and no special token
    joins. A WordPiece continuation is cut as a continuation: ``##lerden`` into ``##ler ##den``, not into ``ler ##den``.
    A token that the teacher has under the same name, a byte token too, is that one.

    Args:
        spec: the teacher's ``tokenizer.json``.
        tokens: new tokens in the family's own spelling.

    Returns:
        Teacher ids by token. The unknown token is left out unless there is nothing else.
    """
    model, unknown = word_tokenizer(model_of(spec)), unknown_id(spec)
    prefix = spec["model"].get("continuing_subword_prefix")
    pieces = dict(zip(tokens, encode_words(model, tokens), strict=True))
    if prefix:
        texts = {token: token.removeprefix(prefix) for token in tokens if token.startswith(prefix)}
        pieces |= dict(
            zip(texts, encode_words(word_tokenizer(_inner_model(spec, prefix)), texts.values()), strict=True)
        )
    own = {token: i for token in tokens if (i := model.token_to_id(token)) is not None}
    return [(own[token],) if token in own else _known(pieces[token], unknown) for token in tokens]


def _known(ids: Sequence[int], unknown: int | None) -> tuple[int, ...]:
    return tuple(i for i in ids if i != unknown) or tuple(ids[:1])


def _inner_model(spec: Mapping[str, Any], prefix: str) -> models.WordPiece:
    """A WordPiece model that reads a word as if it went on from an earlier piece: it knows continuations alone."""
    from tokenizers import models

    model = spec["model"]
    known = {token: i for token, i in model["vocab"].items() if token.startswith(prefix) and token != prefix}
    inner = {token.removeprefix(prefix): i for token, i in known.items()}
    return models.WordPiece(
        vocab={**inner, model["unk_token"]: model["vocab"][model["unk_token"]]},
        unk_token=model["unk_token"],
        continuing_subword_prefix="",
        max_input_chars_per_word=model["max_input_chars_per_word"],
    )
