"""What the rest of langtailor may ask of a tokenizer family.

A *family* handles one kind of ``tokenizer.json`` (https://huggingface.co/docs/tokenizers): how its tokens are
spelled, which of them must be kept, which others a token requires to be reachable, and how to write the file.
Selection decides *which* tokens are kept; everything that depends on *how* the family works is behind this protocol.

Ids: a *teacher id* is a row of the teacher's embedding table, a *new id* a row of the student's.
Spelling: tokens are handled in the vocabulary's spelling (``▁ev``, ``##ler``, ``Ġev``); the *surface* of a token is
the text that it stands for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Origin = Literal["special", "byte", "alphabet", "prompt", "corpus", "unseen", "target-language", "closure", "padding"]


@dataclass(frozen=True)
class Graft:
    """A token that the teacher does not have.

    Attributes:
        token: in the family's spelling.
        count: occurrences in the target languages' train split, with the grafts before it in place.
        merge: BPE: the two tokens, kept or grafted earlier, whose merge makes it.
        score: Unigram: log-probability on the teacher's scale.
        origin: ``target-language``, or ``closure`` for an intermediate that only a later graft requires.
    """

    token: str
    count: int
    merge: tuple[str, str] | None = None
    score: float | None = None
    origin: Literal["target-language", "closure"] = "target-language"


@dataclass(frozen=True)
class Layout:
    """The new vocabulary in the order of its ids, from which the files are written.

    Attributes:
        tokens: token by new id; no two are equal.
        teacher_ids: int32, shape (V,): teacher id by new id, -1 for grafts and padding.
        grafts: the grafted tokens by token, in no particular order.
        padding: the tokens that only pad the table to a multiple.
    """

    tokens: tuple[str, ...]
    teacher_ids: Ids
    grafts: Mapping[str, Graft] = field(default_factory=dict)
    padding: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def new_id(self) -> dict[str, int]:
        """New id by token."""
        return {token: new for new, token in enumerate(self.tokens)}


@dataclass(frozen=True)
class TokenizerFiles:
    """The files of a tokenizer that a family writes.

    Attributes:
        tokenizer: content of ``tokenizer.json``.
        others: further files by name (``vocab.txt``, ``tokenizer.model``).
    """

    tokenizer: dict[str, Any]
    others: Mapping[str, bytes] = field(default_factory=dict)


class Family(Protocol):
    """A tokenizer family, bound to one teacher's tokenizer."""

    #: The family's name in messages and manifests, for example ``byte-level BPE``.
    name: str
    #: Content of the teacher's ``tokenizer.json``; never changed.
    spec: Mapping[str, Any]
    #: Token by teacher id; rows of the table that no token names hold ``None``.
    tokens: Sequence[str | None]

    def special_ids(self) -> Ids:
        """Ids that must be kept: special and added tokens, unknown, those of the post-processor. Sorted."""
        ...

    def alphabet_ids(self) -> Ids:
        """Ids without which some text cannot be encoded: bytes, the byte-level alphabet. Sorted; may be empty."""
        ...

    def character_ids(self) -> Ids:
        """Ids of the alphabet that stand for one character each; dropping one affects text with this character alone.

        Sorted; empty for families that encode any character in bytes.
        """
        ...

    def placeholder_ids(self) -> Ids:
        """Ids of placeholders that no text is encoded as (``[unused5]``, ``<unused7>``, image tokens). Sorted."""
        ...

    def requirements(self, token_id: int, kept: Container[int] = ()) -> tuple[int, ...]:
        """Teacher ids that must be kept with this one so that it stays reachable, without those already kept.

        For BPE these are the products of its derivation.

        Args:
            token_id: the token.
            kept: ids that are kept together with all that they require.
        """
        ...

    def surfaces(self, tokens: Sequence[str]) -> list[str | None]:
        """The text of each token; ``None`` for special tokens and for bytes that are no text by themselves."""
        ...

    def layout(self, kept: Ids, grafts: Sequence[Graft], padding: int) -> Layout:
        """Give new ids to kept tokens, grafts and padding rows.

        Args:
            kept: sorted teacher ids, closed under :meth:`requirements`, special and alphabet ids included.
            grafts: best first; each ``merge`` names kept tokens or earlier grafts.
            padding: number of padding rows.
        """
        ...

    def write(self, layout: Layout) -> TokenizerFiles:
        """The new tokenizer's files. Whatever does not name a token or an id is copied from the teacher's."""
        ...

    def unreachable(self, layout: Layout) -> list[str]:
        """Tokens that no text is encoded as by the new tokenizer: grafts, and kept tokens that the teacher reaches."""
        ...

    def words(self, texts: Iterable[str]) -> Counter[str]:
        """Split normalised and pre-tokenized texts at boundaries that no token spans, and count the pieces.

        The pieces are in the family's spelling (``▁ev``, ``Ġev``; WordPiece: the word itself). Where no boundary can
        be proved, a piece is as long as it must be, up to the whole text.
        """
        ...

    def propose_grafts(
        self, kept: Ids, words: Mapping[str, int], limit: int, min_count: int, donor: Mapping[str, Any] | None
    ) -> list[Graft]:
        """New tokens for the target languages, best first; every prefix of the list can be grafted by itself.

        Args:
            kept: as for :meth:`layout`.
            words: the words of the target languages' train split with their counts, as :meth:`words` gives them.
            limit: the most tokens to propose, intermediates included.
            min_count: the least count of a proposed token (intermediates excepted).
            donor: ``tokenizer.json`` of a given tokenizer whose tokens are the candidates; ``None`` trains.
        """
        ...
