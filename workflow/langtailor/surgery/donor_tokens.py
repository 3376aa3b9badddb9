"""How often a donor's tokenizer uses its tokens on given text.

Any family may be the donor of any other: tokens are compared by their surface, in which a leading space marks the
start of a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from langtailor.errors import UnsupportedTokenizerError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.spec import added_tokens, tokens_by_id
from langtailor.surgery.spelling import FallbackSpelling, space_mark, spelling_of
from langtailor.surgery.word_models import encode_words


def donor_counts(donor: Mapping[str, Any], texts: Mapping[str, int]) -> Counter[str]:
    """Counts of the donor's tokens on the texts, by surface; added tokens and parts of characters are left out.

    Args:
        donor: content of its ``tokenizer.json``.
        texts: distinct texts (words with their leading space) with their counts.

    Raises:
        UnsupportedTokenizerError: the donor's model is of a type that is not supported.
    """
    surfaces = _surfaces(donor)
    counts: Counter[str] = Counter()
    for ids, count in zip(encode_words(tokenizer_of(donor), texts), texts.values(), strict=True):
        for token_id in ids:
            if (surface := surfaces[token_id]) is not None:
                counts[surface] += count
    return counts


def _surfaces(donor: Mapping[str, Any]) -> list[str | None]:
    """Surface by id; ``None`` for added tokens, bytes and ids without a token."""
    model = donor["model"]
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind == "WordPiece":
        prefix, vocab = model["continuing_subword_prefix"], model["vocab"]

        def surface(token: str) -> str | None:
            return token.removeprefix(prefix) if token.startswith(prefix) else " " + token
    elif kind in ("BPE", "Unigram"):
        vocab = {token: i for i, (token, _) in enumerate(model["vocab"])} if kind == "Unigram" else model["vocab"]
        surface = (spelling_of(donor) or FallbackSpelling(space_mark(donor))).surface
    else:
        raise UnsupportedTokenizerError(
            f"config `vocabulary.graft`: the donor's tokenizer.json has a model of type {kind!r}; supported are BPE, "
            "Unigram and WordPiece. Name another donor, or `trained`"
        )
    added = added_tokens(donor)
    return [None if token is None or token in added else surface(token) for token in tokens_by_id(vocab, donor)]
