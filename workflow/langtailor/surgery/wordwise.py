"""What WordPiece and Unigram have in common: each word is segmented by itself, with tokens of a flat vocabulary.

No token requires another, so any set of tokens can be kept. How a word is segmented is in the two modules.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from langtailor.surgery.base import Graft, Ids, Layout
from langtailor.surgery.bpe.pieces import PieceSplitter
from langtailor.surgery.lexicon import Counts, Lexicon
from langtailor.surgery.placeholders import reserved_tokens
from langtailor.surgery.spec import (
    added_tokens,
    config_tokens,
    processor_tokens,
    sorted_ids,
    special_tokens,
    tokens_by_id,
    unused_names,
)

if TYPE_CHECKING:
    from tokenizers import models

#: Scripts of thousands of characters, each a rare one. A character of them is kept by its count alone.
_LARGE_SCRIPTS = ("CJK ", "HANGUL SYLLABLE ")


class WordwiseFamily(ABC):
    """Base of the families that segment each word by itself.

    Args:
        spec: content of ``tokenizer.json``; never changed.
        tokenizer_config: content of ``tokenizer_config.json``.
        vocab: teacher id by token of the model.
        unknown: the unknown token, where there is one.
    """

    name: str

    def __init__(
        self,
        spec: Mapping[str, Any],
        tokenizer_config: Mapping[str, Any],
        vocab: Mapping[str, int],
        unknown: str | None,
    ) -> None:
        self.spec = spec
        self._vocab = vocab
        self.tokens: Sequence[str | None] = tokens_by_id(vocab, spec)
        self._ids = {token: token_id for token_id, token in enumerate(self.tokens) if token is not None}
        self._added = added_tokens(spec)
        named = config_tokens(tokenizer_config) | processor_tokens(spec) | ({unknown} if unknown else set())
        self._placeholders = frozenset(reserved_tokens(self._ids)) - named
        self._special = (special_tokens(spec, tokenizer_config) | set(self._added) | named) - self._placeholders

    # -- what a family adds -----------------------------------------------------------------------------------------

    @abstractmethod
    def surface(self, token: str) -> str | None:
        """The text of a token that is neither special nor a placeholder; a leading space marks the start of a word."""

    @abstractmethod
    def _model(self, layout: Layout) -> models.Model:
        """The model alone, for words."""

    @abstractmethod
    def _padding_shape(self) -> str:
        """A name with ``{}`` for a number, that no text is encoded as."""

    # -- what must be kept ------------------------------------------------------------------------------------------

    def special_ids(self) -> Ids:
        """All added tokens, the unknown token, those named by a config or the post-processor; no placeholders."""
        return sorted_ids(self._special, self._ids)

    def placeholder_ids(self) -> Ids:
        """Numbered reserved tokens that neither a config nor the post-processor names."""
        return sorted_ids(self._placeholders, self._ids)

    def requirements(self, token_id: int, kept: Container[int] = ()) -> tuple[int, ...]:
        """None: a token is reachable without any other."""
        return ()

    # -- names ------------------------------------------------------------------------------------------------------

    def surfaces(self, tokens: Sequence[str]) -> list[str | None]:
        """The text of each token, with a space at the start of a word; ``None`` for specials and placeholders."""
        textless = self._special | self._placeholders
        return [None if token in textless else self.surface(token) for token in tokens]

    # -- order ------------------------------------------------------------------------------------------------------

    def layout(self, kept: Ids, grafts: Sequence[Graft], padding: int) -> Layout:
        """Kept tokens in the teacher's order, then grafts, then padding.

        Added tokens that come last in the teacher come last here, too: fairseq's ``<mask>`` stays the last one, and
        tokens that were added to a finished model stay outside it.

        Raises:
            ValueError: ids are not sorted, distinct and those of tokens, or a graft is not new.
        """
        kept = np.asarray(kept, np.int32)
        old = [self.tokens[i] for i in kept.tolist()]
        if np.any(np.diff(kept) <= 0) or None in old:
            raise ValueError("kept ids must be sorted, distinct and those of tokens")
        head = int(np.searchsorted(kept, self._tail_start))
        names = [token for token in old if token is not None]
        new = [graft.token for graft in grafts]
        if len(set(new) - set(names)) < len(new):
            raise ValueError("grafts must be distinct and not among the kept tokens")
        pads = unused_names(self._padding_shape(), padding, {*names, *new, *self._ids})
        without_teacher = np.full(len(new) + len(pads), -1, np.int32)
        return Layout(
            tokens=(*names[:head], *new, *pads, *names[head:]),
            teacher_ids=np.concatenate([kept[:head], without_teacher, kept[head:]]),
            grafts={graft.token: graft for graft in grafts},
            padding=frozenset(pads),
        )

    @cached_property
    def _tail_start(self) -> int:
        """The first of the added tokens that come last in the teacher."""
        start = len(self.tokens)
        while start and (self.tokens[start - 1] is None or self.tokens[start - 1] in self._added):
            start -= 1
        return start

    def _model_tokens(self, layout: Layout) -> list[str]:
        """The tokens of the model, by id; those outside it come last, and the library continues their numbers."""
        end = len(layout)
        while end and layout.tokens[end - 1] in self._added and layout.tokens[end - 1] not in self._vocab:
            end -= 1
        return list(layout.tokens[:end])

    # -- text -------------------------------------------------------------------------------------------------------

    def words(self, texts: Iterable[str]) -> Counter[str]:
        """Words as the model gets them, after normalisation and pre-tokenization, with their counts.

        An added token is a word of its own.
        """
        return Counter(PieceSplitter(self.spec, None).pieces(texts))

    def _graft_counts(self, lexicon: Lexicon, kept: Ids, grafts: Sequence[Graft]) -> Counts:
        """How often each graft occurs in the segmentation of the lexicon; int64, one a graft."""
        layout = self.layout(kept, grafts, 0)
        counts, new_id = lexicon.count_tokens(self._model(layout), len(layout)), layout.new_id
        return counts[[new_id[graft.token] for graft in grafts]]

    def _without_added(self, words: Mapping[str, int]) -> dict[str, int]:
        """The words that are no added tokens."""
        return {word: count for word, count in words.items() if word not in self._added}


def of_small_script(text: str) -> bool:
    """Whether a text is one character of a script whose characters are few enough to keep them all."""
    return len(text) == 1 and not unicodedata.name(text, "").startswith(_LARGE_SCRIPTS)


def savings(ids: Iterable[list[int]], texts: Iterable[str], unknown: int | None) -> Counts:
    """Tokens that one token for each text would save; int64.

    Args:
        ids: segmentation of each text.
        texts: the texts.
        unknown: id of the unknown token. A text with it loses its characters, so each of them counts as a token saved.
    """
    saved = (len(text) if unknown in row else len(row) - 1 for row, text in zip(ids, texts, strict=True))
    return np.fromiter(saved, np.int64)
