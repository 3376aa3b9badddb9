"""What the rest of langtailor may ask of a tokenizer family.

A *family* knows one kind of ``tokenizer.json`` (https://huggingface.co/docs/tokenizers): how its tokens are spelled,
which of them must stay, what a token needs so that it can be reached, and how to write the file anew.
Selection decides *which* tokens live; everything that depends on *how* the family works lives behind this protocol.

Ids: a *teacher id* is a row of the teacher's embedding table, a *new id* a row of the student's.
Spelling: tokens are handled in the vocabulary's own spelling (``▁ev``, ``##ler``, ``Ġev``); the *surface* of a token
is the text it stands for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Origin = Literal["special", "byte", "alphabet", "corpus", "target-language", "closure", "padding"]


@dataclass(frozen=True)
class Graft:
    """A token that the teacher does not have.

    Attributes:
        token: in the family's own spelling.
        count: uses in the target languages' train split, with the grafts before it in place.
        merge: BPE: the two tokens, kept or grafted earlier, whose merge makes it.
        score: Unigram: log-probability on the teacher's scale.
        origin: ``target-language``, or ``closure`` for an intermediate that only a later graft needs.
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
        padding: the tokens that only pad the table.
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
    """One tokenizer family, bound to one teacher's tokenizer."""

    #: The family's name in messages and manifests, for example ``byte-level BPE``.
    name: str
    #: Content of the teacher's ``tokenizer.json``; never changed.
    spec: Mapping[str, Any]
    #: Token by teacher id; rows of the table that no token names hold ``None``.
    tokens: Sequence[str | None]

    def special_ids(self) -> Ids:
        """Ids that must stay: special and added tokens, unknown, those in the post-processor. Sorted."""
        ...

    def alphabet_ids(self) -> Ids:
        """Ids without which some text cannot be written: bytes, the byte-level alphabet. Sorted; may be empty."""
        ...

    def letter_ids(self) -> Ids:
        """Those of the alphabet that stand for one character each: without them only text with this character suffers.

        Sorted; empty for families that write any character in bytes.
        """
        ...

    def placeholder_ids(self) -> Ids:
        """Ids of slots that no text reaches (``[unused5]``, ``<unused7>``, image slots). Sorted."""
        ...

    def requirements(self, token_id: int, kept: Container[int] = ()) -> tuple[int, ...]:
        """Teacher ids that must be kept with this one so that it stays reachable, but those that are.

        For BPE these are the products of its derivation.

        Args:
            token_id: the token.
            kept: ids that are kept with all that they require.
        """
        ...

    def surfaces(self, tokens: Sequence[str]) -> list[str | None]:
        """The text each token stands for; ``None`` for specials and for bytes that are no text alone."""
        ...

    def layout(self, kept: Ids, grafts: Sequence[Graft], padding: int) -> Layout:
        """Order kept tokens, grafts and padding rows into new ids.

        Args:
            kept: sorted teacher ids, closed under :meth:`requirements`, special and alphabet ids included.
            grafts: best first; each ``merge`` names kept tokens or earlier grafts.
            padding: unused rows at the end.
        """
        ...

    def write(self, layout: Layout) -> TokenizerFiles:
        """The new tokenizer's files. Everything that does not name a token or an id stays as it was."""
        ...

    def unreachable(self, layout: Layout) -> list[str]:
        """Grafts, and kept tokens that the teacher reaches, that no text reaches in the new tokenizer."""
        ...

    def words(self, texts: Iterable[str]) -> Counter[str]:
        """Cut texts, after normalisation and pre-tokenization, where no token of the family can cross, and count.

        The pieces are in the family's own spelling (``▁ev``, ``Ġev``; WordPiece: the word itself). Where the
        vocabulary gives no proof of such a cut, a piece is as long as it must be, up to the whole text.
        """
        ...

    def propose_grafts(
        self, kept: Ids, words: Mapping[str, int], limit: int, min_count: int, donor: Mapping[str, Any] | None
    ) -> list[Graft]:
        """New tokens for the target languages, best first; every prefix of the list can be grafted alone.

        Args:
            kept: as for :meth:`layout`.
            words: what :meth:`words` found in the target languages' train split.
            limit: the most tokens wanted, intermediates included.
            min_count: uses under which a token is not proposed (intermediates excepted).
            donor: ``tokenizer.json`` of a given tokenizer whose tokens are the candidates; ``None`` trains.
        """
        ...
