"""The merge table: how the encoder joins symbols, and what a token needs to stay as it is.

**The encoder.** A piece of text becomes a row of *symbols* (its characters, or bytes where a character is unknown).
As long as any two neighbours form a known pair, the pair of lowest rank is joined, the leftmost of equal ones first
(``merge_all`` in ``tokenizers/src/models/bpe/word.rs``; Sennrich et al. 2016, https://aclanthology.org/P16-1162).
The run ends in one row; call it ``run(piece)``.

**Locality.** *Let a run end with row R, and let S be the text under some consecutive symbols of R. Then the run on S
alone ends with just these symbols, and its merges are those that the long run did inside S, in the same order.*
Proof: every merge of the long run lies inside one symbol of R, so it lies inside S or outside. One inside S has the
least (rank, position) of all pairs, so also of the pairs inside S, and positions inside S keep their order: the run
on S alone chooses it too. When the long run stops, no pair inside S is left, so the run on S stops there as well.

Three things follow.

1. *One derivation is enough.* A token emitted anywhere is derived exactly as it is from its own characters alone; and
   if its last merge is (l, r), l and r were derived as they are alone. So what token t needs is ``needs(t) = {l, r} +
   needs(l) + needs(r)``, however many merges make the same string. A token whose own characters do not end in [t] is
   never emitted by merging, in the teacher or after, and needs nothing.
2. *Same ids on kept text.* Keep a set of tokens closed under ``needs``, and exactly the merges whose two parts and
   product are kept, in order. Then text whose teacher tokens are all kept is segmented identically. Proof: the
   teacher's run uses only merges inside the needs of emitted tokens, so all of them exist in the pruned table; the
   pruned table is a sub-table with the same order, so at each step the teacher's choice is also its least; and where
   the teacher finds no pair, a sub-table finds none. Characters start as the same symbols: one that the teacher knows
   is kept (it is needed), one that it does not know falls back to bytes, and these are all kept.
3. *Appended merges.* Merges with new products, ranked behind all others, act on the rows in which the old run ended.
   If (l, r) are neighbours in such a row and their string g is new, then g alone ends in [l, r] and, with the merge
   appended, in [g]: a graft taken from text is reachable, and stays so, since later merges rank behind it. Nor can g
   ever meet another split of itself: by locality each occurrence of g on symbol bounds is split as g alone is.

A whole piece that is in the vocabulary is emitted without merging when ``ignore_merges`` is set; such a token has no
needs beyond itself, and 1 to 3 hold for all other pieces unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langtailor.errors import UnsupportedTokenizerError

#: Ids of each of some texts.
Encode = Callable[[Sequence[str]], Iterable[list[int]]]
#: Two symbol ids make one dictionary key: left << PAIR_BITS | right.
PAIR_BITS = 24
_NEVER = 1 << 62
_NO_PARTS = (-1, -1)


class MergeTable:
    """Ranked merges over symbol ids; later merges have higher ranks.

    Attributes:
        lefts, rights, products: symbol ids by rank.
    """

    def __init__(self) -> None:
        self.lefts: list[int] = []
        self.rights: list[int] = []
        self.products: list[int] = []
        self._ranks: dict[int, int] = {}

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]], vocab: Mapping[str, int]) -> MergeTable:
        """The table of a vocabulary; of equal pairs the last one counts, as in the library.

        Raises:
            UnsupportedTokenizerError: a merge names or makes a token that the vocabulary lacks.
        """
        table = cls()
        for left, right in pairs:
            try:
                table.append(vocab[left], vocab[right], vocab[left + right])
            except KeyError as error:
                raise UnsupportedTokenizerError(
                    f"tokenizer.json: merge {left!r} + {right!r} needs token {error}, which `model.vocab` lacks. "
                    "Repair the teacher's tokenizer.json"
                ) from error
        return table

    def append(self, left: int, right: int, product: int) -> None:
        """Add a merge behind all others."""
        self._ranks[left << PAIR_BITS | right] = len(self.products)
        self.lefts.append(left)
        self.rights.append(right)
        self.products.append(product)

    def run(self, symbols: list[int]) -> int:
        """Merge ``symbols`` in place until no pair is left; returns the rank of the last merge, -1 without any."""
        ranks, products = self._ranks, self.products
        waiting = [ranks.get(left << PAIR_BITS | right, _NEVER) for left, right in pairwise(symbols)]
        last = -1
        while waiting:
            best = min(waiting)
            if best == _NEVER:
                break
            last, at = best, waiting.index(best)
            symbols[at] = products[best]
            del symbols[at + 1], waiting[at]
            if at:
                waiting[at - 1] = ranks.get(symbols[at - 1] << PAIR_BITS | symbols[at], _NEVER)
            if at < len(waiting):
                waiting[at] = ranks.get(symbols[at] << PAIR_BITS | symbols[at + 1], _NEVER)
        return last

    def derivations(self, vocab: Mapping[str, int], encode: Encode) -> Derivations:
        """By which merge, if at all, each token's own characters become the token.

        Where one merge alone makes a token, the library says whether its characters get there. The others, of which a
        vocabulary that was converted from SentencePiece has many, are run here to see which of their merges is the last.

        Args:
            vocab: id by token.
            encode: ids into which merging alone, by the library itself, turns each of the given texts.
        """
        size = max(vocab.values(), default=-1) + 1
        lefts, rights = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
        reachable, rank = np.zeros(size, bool), np.zeros(size, np.int64)
        made = np.bincount(np.asarray(self.products, np.int64), minlength=size)
        plain = [token for token, token_id in vocab.items() if made[token_id] == 1]
        for token, found in zip(plain, encode(plain), strict=True):
            reachable[vocab[token]] = found == [vocab[token]]
        once = np.flatnonzero(reachable)
        rank[self.products] = np.arange(len(self.products))
        lefts[once], rights[once] = (np.array(parts, np.int32)[rank[once]] for parts in (self.lefts, self.rights))
        for token in vocab.keys() - set(plain):
            token_id = vocab[token]
            symbols = [vocab.get(character, -1) for character in token]
            if -1 in symbols:
                continue
            last = self.run(symbols)
            if symbols == [token_id]:
                reachable[token_id] = True
                if last >= 0:
                    lefts[token_id], rights[token_id] = self.lefts[last], self.rights[last]
        return Derivations(lefts, rights, reachable)

    def within(self, kept: NDArray[np.bool_]) -> list[int]:
        """Ranks of the merges whose parts and product are all ``kept`` (bool by symbol id), in order."""
        if not self.products:
            return []
        alive = kept[self.lefts] & kept[self.rights] & kept[self.products]
        return [int(rank) for rank in np.flatnonzero(alive)]


class Derivations:
    """How each token is made from its own characters.

    Args:
        lefts, rights: int32, shape (V,): the parts of the token's last merge, -1 where it has none.
        reachable: bool, shape (V,): the token's own characters end in the token.
    """

    def __init__(self, lefts: NDArray[np.int32], rights: NDArray[np.int32], reachable: NDArray[np.bool_]) -> None:
        self.lefts, self.rights, self.reachable = lefts, rights, reachable
        # One at a time, lists are read many times faster.
        self._parts: list[tuple[int, int]] = list(zip(lefts.tolist(), rights.tolist(), strict=True))

    def needs(self, token_id: int, kept: Container[int] = ()) -> tuple[int, ...]:
        """All symbols in the token's derivation but itself, sorted; without those that are ``kept`` with their own."""
        found: set[int] = set()
        waiting = [token_id]
        while waiting:
            current = waiting.pop()
            parts = self._parts[current] if current < len(self._parts) else _NO_PARTS
            for part in parts:
                if part >= 0 and part not in found and part not in kept:
                    found.add(part)
                    waiting.append(part)
        return tuple(sorted(found))

    def missing(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Ids that kept tokens (bool by id, shape (V,)) need directly and that are not kept. Empty when closed."""
        parts = np.unique(np.concatenate([self.lefts[kept], self.rights[kept]]).astype(np.int64))
        needed = parts[parts >= 0]
        return needed[~kept[needed]]


def parse_merges(merges: Sequence[Any]) -> list[tuple[str, str]]:
    """The pairs of ``model.merges``, which holds ``"a b"`` strings or ``["a", "b"]`` lists.

    Raises:
        UnsupportedTokenizerError: an entry is neither.
    """
    # A "#version" line heads merges that were copied from a merges.txt; the library skips it too.
    entries = [entry for entry in merges if not (isinstance(entry, str) and entry.startswith("#version"))]
    pairs: list[tuple[str, str]] = []
    for entry in entries:
        parts = entry.split(" ") if isinstance(entry, str) else entry
        if len(parts) != 2:
            raise UnsupportedTokenizerError(
                f"tokenizer.json: {entry!r} in `model.merges` is no pair of tokens. Repair the teacher's tokenizer.json"
            )
        pairs.append((parts[0], parts[1]))
    return pairs
