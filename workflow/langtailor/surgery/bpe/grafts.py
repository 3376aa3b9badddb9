"""New tokens that the pruned tokenizer can reach, found in its own segmentation of the target text.

A merge whose two parts are neighbours in that segmentation, ranked behind all merges there are, makes a token that is
reachable and leaves all other text as it was (point 3 in :mod:`langtailor.surgery.bpe.merges`). Both methods build
on it, merge by merge over the same sequences:

- :func:`train` goes on with BPE training: always the pair that saves most tokens (continued BPE training,
  arXiv 2512.03989).
- :func:`adopt` takes the tokens of a donor, most used first, and joins the pruned tokenizer's own segmentation of each
  pair by pair; a pair's token that the donor lacks is an intermediate.

In byte-fallback families a character without a token is one symbol here, too. Its token needs no merge: the encoder
looks characters up first. It is always proposed before a merge that uses it, because it is used at least as often.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from langtailor.surgery.base import Graft
from langtailor.surgery.bpe.merges import PAIR_BITS, MergeTable

_RIGHT = (1 << PAIR_BITS) - 1
_CHARACTER = -1


class Symbols:
    """Names of the symbols in the sequences.

    Args:
        tokens: the pruned vocabulary, by new id; those ids are symbols as they are.
        reserved: further names that no graft may take.

    Attributes:
        names: name by symbol.
        taken: names that are tokens or reserved.
        characters: symbols of the characters that the pruned vocabulary lacks.
    """

    def __init__(self, tokens: Sequence[str], reserved: Iterable[str]) -> None:
        self.names = list(tokens)
        self.taken = {*tokens, *reserved}
        self.characters: dict[str, int] = {}

    def character(self, character: str) -> int:
        """The symbol of a character that has no token yet."""
        if character not in self.characters:
            self.characters[character] = self.add(character)
        return self.characters[character]

    def add(self, name: str) -> int:
        """A new symbol."""
        self.names.append(name)
        return len(self.names) - 1

    def product(self, left: int, right: int) -> str | None:
        """The name of a merge's product; ``None`` when it is taken."""
        name = self.names[left] + self.names[right]
        return None if name in self.taken else name

    def missing(self, row: Iterable[int]) -> list[int]:
        """The characters of a row that are no tokens yet, each once."""
        names = self.names
        return [s for s in dict.fromkeys(row) if self.characters.get(names[s]) == s and names[s] not in self.taken]


class Sequences:
    """Distinct symbol sequences with their uses; for each pair of neighbours its uses and where it stands.

    Args:
        uses: how often each sequence occurs. Its items are taken in order.
    """

    def __init__(self, uses: Mapping[tuple[int, ...], int]) -> None:
        self._rows = [list(row) for row in uses]
        self._uses = list(uses.values())
        self.counts: dict[int, int] = defaultdict(int)
        self._where: dict[int, list[int]] = defaultdict(list)
        for index, (row, used) in enumerate(zip(self._rows, self._uses, strict=True)):
            for pair in _pairs(row):
                self.counts[pair] += used
                self._where[pair].append(index)

    def count(self, left: int, right: int) -> int:
        """Uses of a pair."""
        return self.counts.get(left << PAIR_BITS | right, 0)

    def symbol_uses(self, symbols: Iterable[int]) -> dict[int, int]:
        """Uses of the given symbols."""
        found = dict.fromkeys(symbols, 0)
        if found:
            for row, used in zip(self._rows, self._uses, strict=True):
                for symbol in row:
                    if symbol in found:
                        found[symbol] += used
        return found

    def merge(self, left: int, right: int, product: int) -> set[int]:
        """Join a pair everywhere; returns the pairs that became more frequent."""
        pair = left << PAIR_BITS | right
        grown: set[int] = set()
        for index in self._where.pop(pair, ()):
            row, used = self._rows[index], self._uses[index]
            joined = _joined(row, left, right, product)
            if len(joined) == len(row):
                continue
            before, after = Counter(_pairs(row)), Counter(_pairs(joined))
            self._rows[index] = joined
            for changed in before.keys() | after.keys():
                difference = after[changed] - before[changed]
                if difference == 0:
                    continue
                self.counts[changed] += difference * used
                if difference > 0:
                    grown.add(changed)
                    if changed not in before:
                        self._where[changed].append(index)
        self.counts.pop(pair, None)
        return grown

    def trial(self, row: Sequence[int], plan: Sequence[tuple[int, int, int]]) -> int:
        """Uses that the last product of a plan would have, if its merges were made now.

        Args:
            row: the symbols that the plan joins into one; only sequences that hold them count.
            plan: left, right and product of each merge.
        """
        rarest = min((left << PAIR_BITS | right for left, right in pairwise(row)), key=lambda p: self.counts.get(p, 0))
        total = 0
        for index in dict.fromkeys(self._where.get(rarest, ())):
            joined = self._rows[index]
            for left, right, product in plan:
                joined = _joined(joined, left, right, product)
            total += self._uses[index] * joined.count(plan[-1][2])
        return total


def train(sequences: Sequences, symbols: Symbols, limit: int, min_count: int) -> list[Graft]:
    """Continue BPE training on the sequences.

    Args:
        sequences: the target text in symbols; merged on the way.
        symbols: their names; grafts are added on the way.
        limit: the most grafts wanted.
        min_count: training stops before a token with fewer uses.

    Returns:
        Grafts in the order of their ranks; equal savings go to the smaller symbols first.
    """
    grafts: list[Graft] = []
    heap = [(-count, pair >> PAIR_BITS, pair & _RIGHT) for pair, count in sequences.counts.items()]
    uses = sequences.symbol_uses(symbols.characters.values())
    for character, symbol in symbols.characters.items():
        saved = uses[symbol] * (len(character.encode()) - 1)
        # A one-byte character saves nothing as a token but must precede the merges that use it.
        heap.append((-max(saved, uses[symbol]), _CHARACTER, symbol))
    heapq.heapify(heap)
    while heap and len(grafts) < limit:
        rank, left, right = heapq.heappop(heap)
        if left == _CHARACTER:
            name = symbols.names[right]
            if uses[right] >= min_count and name not in symbols.taken:
                symbols.taken.add(name)
                grafts.append(Graft(name, uses[right]))
            continue
        count = sequences.count(left, right)
        if count != -rank:
            if count:
                heapq.heappush(heap, (-count, left, right))
            continue
        if count < min_count:
            break
        product = symbols.product(left, right)
        if product is None:
            continue
        symbol = symbols.add(product)
        symbols.taken.add(product)
        grafts.append(Graft(product, count, merge=(symbols.names[left], symbols.names[right])))
        for pair in sequences.merge(left, right, symbol):
            heapq.heappush(heap, (-sequences.counts[pair], pair >> PAIR_BITS, pair & _RIGHT))
    return grafts


def adopt(
    sequences: Sequences,
    symbols: Symbols,
    candidates: Sequence[tuple[str, Sequence[int]]],
    limit: int,
    min_count: int,
) -> list[Graft]:
    """Graft a donor's tokens, each with the intermediates that it needs.

    Args:
        sequences: the target text in symbols; merged on the way.
        symbols: their names; grafts are added on the way.
        candidates: best first; spelling and the pruned tokenizer's own segmentation of it.
        limit: the most grafts wanted, intermediates included.
        min_count: uses in the text under which a candidate is passed over.

    Returns:
        Grafts in the order of their ranks; intermediates have the origin ``closure``.
    """
    wanted = {token for token, _ in candidates}
    appended = MergeTable()
    uses = sequences.symbol_uses(symbols.characters.values())
    grafts: list[Graft] = []
    for token, segmentation in candidates:
        if len(grafts) == limit:
            break
        if token in symbols.taken:
            continue
        row = list(segmentation)
        appended.run(row)
        known = len(symbols.names)
        missing = symbols.missing(row)
        plan = _plan(row, sequences, symbols, wanted)
        fits = plan is not None and len(grafts) + len(missing) + len(plan) <= limit
        if not fits or plan is None or _uses(row, plan, sequences, uses) < min_count:
            del symbols.names[known:]
            continue
        grafts += [_adopted(symbols, symbol, uses[symbol], None, wanted) for symbol in missing]
        for left, right, product in plan:
            merge, count = (symbols.names[left], symbols.names[right]), sequences.count(left, right)
            grafts.append(_adopted(symbols, product, count, merge, wanted))
            sequences.merge(left, right, product)
            appended.append(left, right, product)
    return grafts


def _uses(
    row: Sequence[int], plan: Sequence[tuple[int, int, int]], sequences: Sequences, uses: Mapping[int, int]
) -> int:
    """Uses in the text of what a plan makes of a row; without a plan the row is one character."""
    return sequences.trial(row, plan) if plan else uses[row[0]]


def _adopted(symbols: Symbols, symbol: int, count: int, merge: tuple[str, str] | None, wanted: set[str]) -> Graft:
    name = symbols.names[symbol]
    symbols.taken.add(name)
    return Graft(name, count, merge=merge, origin="target-language" if name in wanted else "closure")


def _plan(
    row: Sequence[int], sequences: Sequences, symbols: Symbols, wanted: set[str]
) -> list[tuple[int, int, int]] | None:
    """Merges (left, right, product) that join a row into one symbol; ``None`` when a product's name is taken.

    At each step the pair whose product the donor has comes first, then the most frequent, then the leftmost. The
    products are added to the symbols.
    """
    plan: list[tuple[int, int, int]] = []
    rest = list(row)
    while len(rest) > 1:
        options = [
            (name not in wanted, -sequences.count(left, right), at, name)
            for at, (left, right) in enumerate(pairwise(rest))
            if (name := symbols.product(left, right)) is not None
        ]
        if not options:
            return None
        *_, at, name = min(options)
        left, right, product = rest[at], rest[at + 1], symbols.add(name)
        plan.append((left, right, product))
        rest = _joined(rest, left, right, product)
    return plan


def _pairs(row: Sequence[int]) -> Iterator[int]:
    """The pairs that could be joined at once: in a run of equal symbols every other one."""
    previous = -1
    for left, right in pairwise(row):
        pair = left << PAIR_BITS | right
        if pair == previous:
            previous = -1
        else:
            yield pair
            previous = pair


def _joined(row: list[int], left: int, right: int, product: int) -> list[int]:
    """The row with each pair joined, from the left."""
    if left not in row:
        return row
    joined, at, end = [], 0, len(row)
    while at < end:
        if row[at] == left and at + 1 < end and row[at + 1] == right:
            joined.append(product)
            at += 2
        else:
            joined.append(row[at])
            at += 1
    return joined
