"""Models of ``tokenizers`` alone, without normalizer and pre-tokenizer: they read a text as one word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.storage.batching import batched

if TYPE_CHECKING:
    from tokenizers import Tokenizer, models

_WORDS_AT_ONCE = 10_000


def model_of(spec: Mapping[str, Any]) -> models.Model:
    """The model alone of a ``tokenizer.json``; it reads what it is given as one normalised, pre-tokenized word."""
    model: models.Model = tokenizer_of(spec).model
    return model


def word_tokenizer(model: models.Model) -> Tokenizer:
    """A tokenizer of the model alone."""
    from tokenizers import Tokenizer

    return Tokenizer(model)


def encode_words(tokenizer: Tokenizer, words: Iterable[str]) -> Iterator[list[int]]:
    """Ids of each word, without special tokens."""
    for batch in batched(words, _WORDS_AT_ONCE):
        yield from (encoding.ids for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False))
