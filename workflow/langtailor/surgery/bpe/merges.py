"""The merge table: how the encoder merges symbols, and which other tokens a token requires.

**The encoder.** A piece of text becomes a sequence of *symbols* (its characters, or bytes where a character is unknown).
As long as any two neighbours form a pair of the table, the pair of lowest rank is merged, the leftmost of equal ones
first (``merge_all`` in ``tokenizers/src/models/bpe/word.rs``; Sennrich et al. 2016, https://aclanthology.org/P16-1162).
The result is one sequence; call it ``run(piece)``.

**Locality.** *Let a run end with the sequence R, and let S be the text of some consecutive symbols of R. Then the run on
S by itself ends with just these symbols, and its merges are those that the long run did inside S, in the same order.*
Proof: every merge of the long run is inside one symbol of R, so it is inside S or outside. One inside S has the least
(rank, position) of all pairs, so also of the pairs inside S, and positions inside S keep their order: the run on S
chooses it too. When the long run stops, no pair inside S is left, so the run on S stops there as well.

Four things follow.

1. *One derivation is enough.* A token emitted anywhere is derived exactly as from its own characters; and if its last
   merge is (l, r), l and r were derived as they are by themselves. So what token t requires is ``requires(t) = {l, r} +
   requires(l) + requires(r)``, however many merges make the same string. A token whose own characters do not end in [t]
   is never emitted by merging, before pruning or after, and requires nothing.
2. *Same ids on kept text.* Keep a set of tokens closed under ``requires``, and exactly the merges whose two parts and
   product are kept, in order. Then text whose teacher tokens are all kept is segmented identically. Proof: the
   teacher's run uses only merges inside the derivations of emitted tokens, so all of them are in the pruned table; the
   pruned table is a sub-table with the same order, so at each step the teacher's choice is also its least; and where
   the teacher finds no pair, a sub-table finds none. Characters start as the same symbols: one that the teacher has
   is kept (it is required), one that it does not have falls back to bytes, and these are all kept.
3. *Appended merges.* Merges with new products, ranked after all others, act on the sequences in which the old run ended.
   If (l, r) are neighbours in such a sequence and their string g is new, then g by itself ends in [l, r] and, with the
   merge appended, in [g]: a graft taken from text is reachable, and stays so, since later merges rank after it. Nor can
   g occur in another split: by locality each occurrence of g on symbol boundaries is split as g by itself is.
4. *Derivations without running.* Call a token *rank-monotone* if each merge of its derivation ranks after those that
   make its parts. Take a merge (l, r) whose parts are derived and rank-monotone. The run on l + r does what the runs on
   l and on r do, always the lower rank first, until a pair across their boundary ranks lower than what both would do
   next. The symbols at the boundary are those down the right side of l's derivation and down the left side of r's; each
   exists from the rank that creates it to the rank that merges it with its neighbour inside. So (l, r) is the last merge
   of l + r if and only if no two of these symbols, except l and r themselves, that exist at the same time have a merge
   that ranks before both are merged. (Of equal ranks the left pair goes first.)

A whole piece that is in the vocabulary is emitted without merging when ``ignore_merges`` is set; such a token requires
only itself, and 1 to 4 hold for all other pieces unchanged.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from langtailor.errors import UnsupportedTokenizerError

#: Ids or ranks.
Ints = NDArray[np.int64]
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

    @cached_property
    def _ranks(self) -> dict[int, int]:
        """Rank by pair; of equal pairs the last one counts."""
        pairs = zip(self.lefts, self.rights, strict=True)
        return {left << PAIR_BITS | right: rank for rank, (left, right) in enumerate(pairs)}

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]], vocab: Mapping[str, int]) -> MergeTable:
        """The table of a vocabulary; of equal pairs the last one counts, as in the library.

        Raises:
            UnsupportedTokenizerError: a merge names or makes a token that the vocabulary lacks.
        """
        table = cls()
        try:
            table.lefts = [vocab[left] for left, _ in pairs]
            table.rights = [vocab[right] for _, right in pairs]
            table.products = [vocab[left + right] for left, right in pairs]
        except KeyError as error:
            left, right = next(pair for pair in pairs if error.args[0] in (*pair, "".join(pair)))
            raise UnsupportedTokenizerError(
                f"tokenizer.json: merge {left!r} + {right!r} needs token {error}, which `model.vocab` lacks. "
                "Repair the teacher's tokenizer.json"
            ) from error
        return table

    def append(self, left: int, right: int, product: int) -> None:
        """Add a merge after all others."""
        self._ranks[left << PAIR_BITS | right] = len(self.products)
        self.lefts.append(left)
        self.rights.append(right)
        self.products.append(product)

    def run(self, symbols: list[int]) -> int:
        """Merge ``symbols`` in place until no pair is left; returns the rank of the last merge, -1 without any."""
        ranks, products = self._ranks, self.products
        pairs = [ranks.get(left << PAIR_BITS | right, _NEVER) for left, right in pairwise(symbols)]
        last = -1
        while pairs:
            best = min(pairs)
            if best == _NEVER:
                break
            last, at = best, pairs.index(best)
            symbols[at] = products[best]
            del symbols[at + 1], pairs[at]
            if at:
                pairs[at - 1] = ranks.get(symbols[at - 1] << PAIR_BITS | symbols[at], _NEVER)
            if at < len(pairs):
                pairs[at] = ranks.get(symbols[at] << PAIR_BITS | symbols[at + 1], _NEVER)
        return last

    def derivations(self, vocab: Mapping[str, int]) -> Derivations:
        """By which merge, if by any, each token's own characters become the token.

        Shorter tokens come first, all of one length together (the fourth point above). Where a part is not
        rank-monotone, the token is run.

        Args:
            vocab: id by token.
        """
        builder = _DerivationBuilder(self, vocab)
        for merges in builder.by_length():
            builder.add(merges)
        return Derivations(builder.lefts, builder.rights, builder.reachable)

    def within(self, kept: NDArray[np.bool_]) -> list[int]:
        """Ranks of the merges whose parts and product are all ``kept`` (bool by symbol id), in order."""
        if not self.products:
            return []
        complete = kept[self.lefts] & kept[self.rights] & kept[self.products]
        return [int(rank) for rank in np.flatnonzero(complete)]


class _DerivationBuilder:
    """Finds the derivations of all tokens, the shortest first.

    Args:
        table: the merges.
        vocab: id by token.

    Attributes:
        lefts, rights: int32, shape (V,): as in :class:`Derivations`.
        reachable: bool, shape (V,): as in :class:`Derivations`, of the tokens added so far.
    """

    def __init__(self, table: MergeTable, vocab: Mapping[str, int]) -> None:
        size = max(vocab.values(), default=-1) + 1
        self._table, self._vocab = table, vocab
        self._lengths = np.zeros(size, np.int64)
        self._lengths[np.fromiter(vocab.values(), np.int64)] = np.fromiter(map(len, vocab), np.int64)
        self.lefts, self.rights = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
        self.reachable = self._lengths == 1
        # The rank of the last merge, -1 for characters; and whether the token is rank-monotone.
        self._created_at, self._monotone = np.full(size, -1, np.int64), np.ones(size, bool)
        self._merges = np.array([table.lefts, table.rights, table.products], np.int64)
        self._keys, self._ranks = _sorted_pairs(*self._merges[:2])

    @cached_property
    def _tokens(self) -> dict[int, str]:
        return {token_id: token for token, token_id in self._vocab.items()}

    def by_length(self) -> list[Ints]:
        """Ranks of the merges that count, those with the shortest products first, one array a length."""
        lengths = self._lengths[self._merges[2, self._ranks]]
        order = np.argsort(lengths, kind="stable")
        boundaries = np.flatnonzero(np.diff(lengths[order])) + 1
        return np.split(self._ranks[order], boundaries)

    def add(self, merges: Ints) -> None:
        """Find the derivations of all tokens of one length; those of all shorter ones have been found."""
        lefts, rights, products = self._merges[:, merges]
        derived = self.reachable[lefts] & self.reachable[rights]
        monotone = self._monotone[lefts] & self._monotone[rights]
        decidable = np.flatnonzero(derived & monotone)
        last = decidable[~self._crossed(lefts[decidable], rights[decidable])]
        run = self._run(np.unique(products[derived & ~monotone]).tolist())
        self._derive(np.concatenate([merges[last], run]))

    def _run(self, token_ids: list[int]) -> Ints:
        """The last merge of each of the tokens that its own characters become."""
        ranks = []
        for token_id in token_ids:
            symbols = [self._vocab[character] for character in self._tokens[token_id]]
            rank = self._table.run(symbols)
            if symbols == [token_id]:
                ranks.append(rank)
        return np.array(ranks, np.int64)

    def _derive(self, merges: Ints) -> None:
        lefts, rights, products = self._merges[:, merges]
        self.lefts[products], self.rights[products] = lefts, rights
        self.reachable[products], self._created_at[products] = True, merges
        after_parts = merges > np.maximum(self._created_at[lefts], self._created_at[rights])
        self._monotone[products] = after_parts & self._monotone[lefts] & self._monotone[rights]

    def _crossed(self, lefts: Ints, rights: Ints) -> NDArray[np.bool_]:
        """Whether a merge across the boundary precedes the completion of both parts; bool, shape of ``lefts``."""
        crossed = np.zeros(len(lefts), bool)
        rows, x, x_merged_at = np.arange(len(lefts)), lefts, np.full(len(lefts), _NEVER)
        while rows.size:
            self._mark_crossed(crossed, rows, x, x_merged_at, rights[rows])
            inner = np.flatnonzero((self.rights[x] >= 0) & ~crossed[rows])
            rows, parents = rows[inner], x[inner]
            x, x_merged_at = self.rights[parents].astype(np.int64), self._created_at[parents]
        return crossed

    def _mark_crossed(self, crossed: NDArray[np.bool_], rows: Ints, x: Ints, x_merged_at: Ints, y: Ints) -> None:
        """Mark the rows where symbol ``x``, left of the boundary, merges with one down the left side of ``y``."""
        created_at, y_merged_at = self._created_at, np.full(len(rows), _NEVER)
        while rows.size:
            first_merged = np.minimum(x_merged_at, y_merged_at)
            coexist = (created_at[x] <= y_merged_at) & (created_at[y] < x_merged_at) & (first_merged < _NEVER)
            at = np.flatnonzero(coexist)
            rank = self._rank(x[at], y[at])
            crossed[rows[at[(rank < x_merged_at[at]) & (rank <= y_merged_at[at])]]] = True
            inner = np.flatnonzero((self.lefts[y] >= 0) & ~crossed[rows])
            rows, x, x_merged_at, parents = rows[inner], x[inner], x_merged_at[inner], y[inner]
            y, y_merged_at = self.lefts[parents].astype(np.int64), created_at[parents]

    def _rank(self, lefts: Ints, rights: Ints) -> Ints:
        keys = lefts << PAIR_BITS | rights
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._ranks[at], _NEVER)


def _sorted_pairs(lefts: Ints, rights: Ints) -> tuple[Ints, Ints]:
    """The keys of all pairs, sorted, and the rank of each."""
    keys = lefts << PAIR_BITS | rights
    ranks = np.argsort(keys, kind="stable")
    # Of equal pairs the last one counts.
    last = np.append(np.diff(keys[ranks]) > 0, True)[: len(keys)]
    return keys[ranks[last]], ranks[last]


class Derivations:
    """By which merges each token is derived from its own characters.

    Args:
        lefts, rights: int32, shape (V,): the parts of the token's last merge, -1 where it has none.
        reachable: bool, shape (V,): the token's own characters end in the token.
    """

    def __init__(self, lefts: NDArray[np.int32], rights: NDArray[np.int32], reachable: NDArray[np.bool_]) -> None:
        self.lefts, self.rights, self.reachable = lefts, rights, reachable
        # Lists are many times faster than arrays to read one entry at a time.
        self._parts: list[tuple[int, int]] = list(zip(lefts.tolist(), rights.tolist(), strict=True))

    def requirements(self, token_id: int, kept: Container[int] = ()) -> tuple[int, ...]:
        """All symbols of the token's derivation except itself, sorted; without those ``kept`` with all they require."""
        required: set[int] = set()
        pending = [token_id]
        while pending:
            current = pending.pop()
            parts = self._parts[current] if current < len(self._parts) else _NO_PARTS
            for part in parts:
                if part >= 0 and part not in required and part not in kept:
                    required.add(part)
                    pending.append(part)
        return tuple(sorted(required))

    def missing(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Ids that kept tokens (bool by id, shape (V,)) directly require and that are not kept. Empty when closed."""
        parts = np.unique(np.concatenate([self.lefts[kept], self.rights[kept]]).astype(np.int64))
        required = parts[parts >= 0]
        return required[~kept[required]]
