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


def segment_without_itself(spec: Mapping[str, Any], tokens: Sequence[str]) -> list[tuple[int, ...]]:
    """Teacher ids of the pieces into which the teacher would segment each of its own tokens if it did not have it.

    For BPE these are the two parts of the merge that makes the token, for WordPiece the longest shorter piece at each place,
    for Unigram the most probable other segmentation.

    Args:
        spec: the teacher's ``tokenizer.json``.
        tokens: names of its tokens.

    Returns:
        Teacher ids by token; empty where there are no such pieces.
    """
    model = spec["model"]
    if "merges" in model:
        return _parts_of_merges(model, tokens)
    if isinstance(model["vocab"], list):
        return _OtherUnigram(model["vocab"]).segment(tokens)
    return _shorter_pieces(model["vocab"], model["continuing_subword_prefix"], tokens)


def _parts_of_merges(model: Mapping[str, Any], tokens: Sequence[str]) -> list[tuple[int, ...]]:
    vocab, parts = model["vocab"], dict[str, tuple[int, ...]]()
    for merge in model["merges"]:
        left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
        if left in vocab and right in vocab:
            parts.setdefault(left + right, (vocab[left], vocab[right]))  # the first merge that makes it ranks lowest
    return [parts.get(token, ()) for token in tokens]


def _shorter_pieces(vocab: Mapping[str, int], prefix: str, tokens: Sequence[str]) -> list[tuple[int, ...]]:
    def pieces(token: str) -> tuple[int, ...]:
        inside = bool(prefix) and token.startswith(prefix)
        text, found = token.removeprefix(prefix) if inside else token, list[int]()
        while text:
            mark = prefix if inside else ""
            ends = range(len(text) - (not found), 0, -1)
            end = next((end for end in ends if mark + text[:end] in vocab), 0)
            if not end:
                return ()
            found.append(vocab[mark + text[:end]])
            text, inside = text[end:], True
        return tuple(found)

    return [pieces(token) for token in tokens]


class _OtherUnigram:
    """The best segmentation of a Unigram's token in at least two pieces."""

    def __init__(self, vocab: Sequence[tuple[str, float]]) -> None:
        self._pieces = {token: (score, i) for i, (token, score) in reversed(list(enumerate(vocab)))}
        self._longest = max((len(token) for token in self._pieces), default=0)

    def segment(self, tokens: Sequence[str]) -> list[tuple[int, ...]]:
        return [self._best(token) for token in tokens]

    def _best(self, token: str) -> tuple[int, ...]:
        best: list[tuple[float, tuple[int, ...]] | None] = [(0.0, ()), *[None] * len(token)]
        for end in range(1, len(token) + 1):
            for start in range(max(0, end - self._longest), end):
                before, piece = best[start], self._pieces.get(token[start:end])
                if before is None or piece is None or end - start == len(token):
                    continue
                score, found = before[0] + piece[0], best[end]
                if found is None or score > found[0]:
                    best[end] = (score, (*before[1], piece[1]))
        last = best[-1]
        return last[1] if last else ()


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
