"""What WordPiece and Unigram have in common: tokens are chosen word by word from a flat vocabulary.

No token needs another, so any set of tokens can be kept; what differs is how a word is cut (see the two modules).
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from langtailor.surgery.base import Graft, Ids, Layout
from langtailor.surgery.bpe.pieces import Cutter
from langtailor.surgery.lexicon import Counts, Lexicon
from langtailor.surgery.spec import added_tokens, config_tokens, processor_tokens, special_tokens, tokens_by_id

if TYPE_CHECKING:
    from tokenizers import models

#: ``[unused5]`` (BERT), ``<unused5>`` (Gemma), ``<extra_id_5>`` (T5), ``madeupword0005`` (fairseq).
_SLOT = re.compile(r"[\[<]unused[ _]?\d+[\]>]|<extra_id_\d+>|madeupword\d+")
#: Scripts of thousands of characters, each a rare one: their characters have to earn their rows.
_LARGE_SCRIPTS = ("CJK ", "HANGUL SYLLABLE ")


class WordwiseFamily(ABC):
    """Base of the families that cut each word on its own.

    Args:
        spec: content of ``tokenizer.json``; kept and never changed.
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
        self._slots = frozenset(token for token in self._ids if _SLOT.fullmatch(token)) - named
        self._special = (special_tokens(spec, tokenizer_config) | set(self._added) | named) - self._slots

    # -- what a family adds -----------------------------------------------------------------------------------------

    @abstractmethod
    def surface(self, token: str) -> str | None:
        """The text of a token that is neither special nor a slot; a leading space marks the start of a word."""

    @abstractmethod
    def _model(self, layout: Layout) -> models.Model:
        """The model alone, for words."""

    @abstractmethod
    def _padding_shape(self) -> str:
        """A name with ``{}`` for a number, that no text is cut into."""

    # -- what must stay ---------------------------------------------------------------------------------------------

    def special_ids(self) -> Ids:
        """All added tokens, the unknown token, those with a name in a config or the post-processor; not the slots."""
        return self._sorted_ids(self._special)

    def placeholder_ids(self) -> Ids:
        """Numbered slots that no config and no processor names."""
        return self._sorted_ids(self._slots)

    def requirements(self, token_id: int, kept: Container[int] = ()) -> tuple[int, ...]:
        """None: a token is reachable without any other."""
        return ()

    # -- names ------------------------------------------------------------------------------------------------------

    def surfaces(self, tokens: Sequence[str]) -> list[str | None]:
        """The text each token stands for, with a space before the start of a word; ``None`` for specials and slots."""
        return [None if token in self._special or token in self._slots else self.surface(token) for token in tokens]

    # -- order ------------------------------------------------------------------------------------------------------

    def layout(self, kept: Ids, grafts: Sequence[Graft], padding: int) -> Layout:
        """Kept tokens in the teacher's order, then grafts, then padding.

        Added tokens that end the teacher's ids end the new ones, too: fairseq's ``<mask>`` stays last, and tokens that
        were added to a finished model stay outside it.

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
        pads = self._padding_names(padding, {*names, *new})
        fresh = np.full(len(new) + len(pads), -1, np.int32)
        return Layout(
            tokens=(*names[:head], *new, *pads, *names[head:]),
            teacher_ids=np.concatenate([kept[:head], fresh, kept[head:]]),
            grafts={graft.token: graft for graft in grafts},
            padding=frozenset(pads),
        )

    @cached_property
    def _tail_start(self) -> int:
        """The first of the added tokens that close the teacher's ids."""
        start = len(self.tokens)
        while start and (self.tokens[start - 1] is None or self.tokens[start - 1] in self._added):
            start -= 1
        return start

    def _model_tokens(self, layout: Layout) -> list[str]:
        """The tokens of the model, by id; those outside it come last, where the library numbers them on."""
        end = len(layout)
        while end and layout.tokens[end - 1] in self._added and layout.tokens[end - 1] not in self._vocab:
            end -= 1
        return list(layout.tokens[:end])

    def _padding_names(self, count: int, present: set[str]) -> list[str]:
        taken = present | self._ids.keys()
        names = (name for n in range(len(taken) + count) if (name := self._padding_shape().format(n)) not in taken)
        return list(islice(names, count))

    # -- text -------------------------------------------------------------------------------------------------------

    def words(self, texts: Iterable[str]) -> Counter[str]:
        """Words as the model gets them, after normalisation and pre-tokenization, with their uses.

        An added token is a word of its own.
        """
        return Counter(Cutter(self.spec, None).pieces(texts))

    def _uses(self, lexicon: Lexicon, kept: Ids, grafts: Sequence[Graft]) -> Counts:
        """Uses of grafts on the lexicon; int64, one a graft."""
        layout = self.layout(kept, grafts, 0)
        uses, new_id = lexicon.uses(self._model(layout), len(layout)), layout.new_id
        return uses[[new_id[graft.token] for graft in grafts]]

    def _plain_words(self, words: Mapping[str, int]) -> dict[str, int]:
        """Words without the added tokens among them."""
        return {word: count for word, count in words.items() if word not in self._added}

    def _sorted_ids(self, tokens: Iterable[str]) -> Ids:
        return np.array(sorted({self._ids[token] for token in tokens if token in self._ids}), np.int32)


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
