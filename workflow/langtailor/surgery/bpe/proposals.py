"""New tokens for a BPE teacher: which text they may come from, and by which method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langtailor.surgery.base import Graft
from langtailor.surgery.bpe.grafts import adopt, train
from langtailor.surgery.bpe.reader import CharacterClassBigrams, Reader
from langtailor.surgery.donor_tokens import donor_counts
from langtailor.surgery.spelling import BYTE_TOKENS, FallbackSpelling, Spelling

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class GraftProposer:
    """Proposes new tokens for a pruned BPE tokenizer.

    In byte-fallback families, which do not pre-tokenize, a graft stays inside a word; a trained one also keeps classes
    of characters apart that the teacher's tokens keep apart. Byte-level pieces are pre-tokens and their letters are
    bytes: there the pre-tokenizer has decided what may be joined.

    Args:
        spelling: how the teacher spells text.
        products: the teacher's merged tokens.
        added: its added tokens.
    """

    def __init__(self, spelling: Spelling, products: Collection[str], added: Collection[str]) -> None:
        self._spelling, self._added = spelling, added
        self._bigrams: CharacterClassBigrams | None = None
        if isinstance(spelling, FallbackSpelling):
            self._bigrams = CharacterClassBigrams(products, spelling.mark)

    def propose(
        self,
        tokens: Sequence[str],
        encoder: Tokenizer,
        words: Mapping[str, int],
        limit: int,
        min_count: int,
        donor: Mapping[str, Any] | None,
    ) -> list[Graft]:
        """New tokens in the order of their ranks, by continued training or from a donor.

        Args:
            tokens: the pruned vocabulary by new id.
            encoder: its model.
            words: as for :meth:`~langtailor.surgery.base.Family.propose_grafts`.
            limit: the most tokens to propose.
            min_count: the least count of a token.
            donor: ``tokenizer.json`` of a donor; ``None`` trains.
        """
        reader = Reader(tokens, encoder, {*self._added, *BYTE_TOKENS})
        if donor is None:
            return train(reader.sequences(words, self._as_teacher), reader.symbols, limit, min_count)
        sequences = reader.sequences(words, self._inside_word)
        rows = reader.rows(self._donor_candidates(donor, words, min_count))
        return adopt(sequences, reader.symbols, [(token, row) for token, row in rows if row], limit, min_count)

    def _as_teacher(self, left: str, right: str) -> bool:
        """Whether the teacher's tokens contain such neighbours."""
        return self._bigrams is None or self._bigrams.are_common(left, right)

    def _inside_word(self, left: str, right: str) -> bool:
        """Whether a token that contains these neighbours stays inside a word."""
        return self._bigrams is None or self._bigrams.inside_word(left, right)

    def _donor_candidates(self, donor: Mapping[str, Any], words: Mapping[str, int], min_count: int) -> list[str]:
        """The donor's tokens in this family's spelling, most frequent first, ties by name."""
        texts: Counter[str] = Counter()
        for word, count in words.items():
            if word not in self._added and (text := self._spelling.surface(word)) is not None:
                texts[text] += count
        counts: Counter[str] = Counter()
        for surface, count in donor_counts(donor, texts).items():
            counts[self._spelling.spell(surface)] += count
        frequent = [token for token, count in counts.items() if count >= min_count and token]
        return sorted(frequent, key=lambda token: (-counts[token], token))
