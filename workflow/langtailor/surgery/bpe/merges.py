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

Four things follow.

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
4. *Derivations without running.* Say that a token *rises* if each merge of its derivation ranks behind those that make
   its parts. Take a merge (l, r) whose parts are derived and rise. The run on l + r does what the runs on l and on r
   do, always the lower rank first, until a pair across their border ranks lower than what both would do next. The
   symbols at the border are those down the right side of l's derivation and down the left side of r's; each is there
   from the rank that makes it to the rank that joins it to its neighbour inside. So (l, r) is the last merge of l + r
   if and only if no two of these symbols, but l and r themselves, that are there at the same time have a merge that
   ranks before both are gone. (Of equal ranks the left pair goes first.)

A whole piece that is in the vocabulary is emitted without merging when ``ignore_merges`` is set; such a token has no
needs beyond itself, and 1 to 4 hold for all other pieces unchanged.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

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
        """Rank by pair; of equal pairs that of the last one."""
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

    def derivations(self, vocab: Mapping[str, int]) -> Derivations:
        """By which merge, if at all, each token's own characters become the token.

        Shorter tokens come first, all of one length together (the fourth point above). Where a part does not rise, the
        token is run.

        Args:
            vocab: id by token.
        """
        made = _Made(self, vocab)
        for merges in made.by_length():
            made.add(merges)
        return Derivations(made.lefts, made.rights, made.reachable)

    def within(self, kept: NDArray[np.bool_]) -> list[int]:
        """Ranks of the merges whose parts and product are all ``kept`` (bool by symbol id), in order."""
        if not self.products:
            return []
        alive = kept[self.lefts] & kept[self.rights] & kept[self.products]
        return [int(rank) for rank in np.flatnonzero(alive)]


class _Made:
    """Derivations in the making.

    Args:
        table: the merges.
        vocab: id by token.

    Attributes:
        lefts, rights: int32, shape (V,): as in :class:`Derivations`.
        reachable: bool, shape (V,): as in :class:`Derivations`; so far.
    """

    def __init__(self, table: MergeTable, vocab: Mapping[str, int]) -> None:
        size = max(vocab.values(), default=-1) + 1
        self._table, self._vocab = table, vocab
        self._lengths = np.zeros(size, np.int64)
        self._lengths[np.fromiter(vocab.values(), np.int64)] = np.fromiter(map(len, vocab), np.int64)
        self.lefts, self.rights = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
        self.reachable = self._lengths == 1
        # The rank of the last merge, -1 for characters; and whether the token rises.
        self._born, self._rises = np.full(size, -1, np.int64), np.ones(size, bool)
        self._merges = np.array([table.lefts, table.rights, table.products], np.int64)
        self._keys, self._ranks = _sorted_pairs(*self._merges[:2])

    @cached_property
    def _tokens(self) -> dict[int, str]:
        return {token_id: token for token, token_id in self._vocab.items()}

    def by_length(self) -> list[Ints]:
        """Ranks of the merges that count, those with the shortest products first, one array a length."""
        lengths = self._lengths[self._merges[2, self._ranks]]
        order = np.argsort(lengths, kind="stable")
        borders = np.flatnonzero(np.diff(lengths[order])) + 1
        return np.split(self._ranks[order], borders)

    def add(self, merges: Ints) -> None:
        """Find the derivations of all tokens of one length; those of all shorter ones are known."""
        lefts, rights, products = self._merges[:, merges]
        derived = self.reachable[lefts] & self.reachable[rights]
        rise = self._rises[lefts] & self._rises[rights]
        told = np.flatnonzero(derived & rise)
        last = told[~self._crossed(lefts[told], rights[told])]
        ran = self._run(np.unique(products[derived & ~rise]).tolist())
        self._derive(np.concatenate([merges[last], ran]))

    def _run(self, token_ids: list[int]) -> Ints:
        """The last merge of each token that its own characters become."""
        found = []
        for token_id in token_ids:
            symbols = [self._vocab[character] for character in self._tokens[token_id]]
            rank = self._table.run(symbols)
            if symbols == [token_id]:
                found.append(rank)
        return np.array(found, np.int64)

    def _derive(self, merges: Ints) -> None:
        lefts, rights, products = self._merges[:, merges]
        self.lefts[products], self.rights[products] = lefts, rights
        self.reachable[products], self._born[products] = True, merges
        behind = merges > np.maximum(self._born[lefts], self._born[rights])
        self._rises[products] = behind & self._rises[lefts] & self._rises[rights]

    def _crossed(self, lefts: Ints, rights: Ints) -> NDArray[np.bool_]:
        """Whether a merge across the border comes before both parts are complete; bool, shape of ``lefts``."""
        crossed = np.zeros(len(lefts), bool)
        rows, x, x_gone = np.arange(len(lefts)), lefts, np.full(len(lefts), _NEVER)
        while rows.size:
            self._mark_crossed(crossed, rows, x, x_gone, rights[rows])
            inner = np.flatnonzero((self.rights[x] >= 0) & ~crossed[rows])
            rows, parents = rows[inner], x[inner]
            x, x_gone = self.rights[parents].astype(np.int64), self._born[parents]
        return crossed

    def _mark_crossed(self, crossed: NDArray[np.bool_], rows: Ints, x: Ints, x_gone: Ints, y: Ints) -> None:
        """Mark the rows where symbol ``x``, left of the border, joins any one down the left side of ``y``."""
        y_gone = np.full(len(rows), _NEVER)
        while rows.size:
            meet = (self._born[x] <= y_gone) & (self._born[y] < x_gone) & (np.minimum(x_gone, y_gone) < _NEVER)
            at = np.flatnonzero(meet)
            rank = self._rank(x[at], y[at])
            crossed[rows[at[(rank < x_gone[at]) & (rank <= y_gone[at])]]] = True
            inner = np.flatnonzero((self.lefts[y] >= 0) & ~crossed[rows])
            rows, x, x_gone, parents = rows[inner], x[inner], x_gone[inner], y[inner]
            y, y_gone = self.lefts[parents].astype(np.int64), self._born[parents]

    def _rank(self, lefts: Ints, rights: Ints) -> Ints:
        keys = lefts << PAIR_BITS | rights
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._ranks[at], _NEVER)


def _sorted_pairs(lefts: Ints, rights: Ints) -> tuple[Ints, Ints]:
    """Keys of all pairs, sorted, and the rank of each."""
    keys = lefts << PAIR_BITS | rights
    ranks = np.argsort(keys, kind="stable")
    # Of equal pairs the last one counts.
    last = np.append(np.diff(keys[ranks]) > 0, True)[: len(keys)]
    return keys[ranks[last]], ranks[last]


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
