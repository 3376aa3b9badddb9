"""New tokens that the pruned tokenizer can reach, found in its own segmentation of the target text.

A merge whose two parts are neighbours in that segmentation, ranked after all existing merges, makes a token that is
reachable and does not change other text (point 3 in :mod:`langtailor.surgery.bpe.merges`). Both methods rest on this,
merge by merge over the same sequences:

- :func:`train` continues BPE training: always the pair that saves most tokens (continued BPE training,
  arXiv 2512.03989).
- :func:`adopt` takes the tokens of a donor, most frequent first, and merges the pruned tokenizer's segmentation of each
  pair by pair; a pair's token that the donor lacks is an intermediate.

In byte-fallback families a character without a token is one symbol here, too. Its token requires no merge: the encoder
looks characters up first. It is always proposed before a merge that contains it, because it is at least as frequent.
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
        """Add a symbol."""
        self.names.append(name)
        return len(self.names) - 1

    def product(self, left: int, right: int) -> str | None:
        """The name of a merge's product; ``None`` where it is taken."""
        name = self.names[left] + self.names[right]
        return None if name in self.taken else name

    def missing(self, row: Iterable[int]) -> list[int]:
        """The characters of a row that have no token yet, each once."""
        names = self.names
        return [s for s in dict.fromkeys(row) if self.characters.get(names[s]) == s and names[s] not in self.taken]


class Sequences:
    """Distinct symbol sequences with their counts, and for each pair of neighbours its count and its sequences.

    Args:
        counts: how often each sequence occurs. Its items are taken in order.

    Attributes:
        pair_counts: how often each pair occurs, by ``left << PAIR_BITS | right``.
    """

    def __init__(self, counts: Mapping[tuple[int, ...], int]) -> None:
        self._rows = [list(row) for row in counts]
        self._counts = list(counts.values())
        self.pair_counts: dict[int, int] = defaultdict(int)
        self._rows_with: dict[int, list[int]] = defaultdict(list)
        for index, (row, count) in enumerate(zip(self._rows, self._counts, strict=True)):
            for pair in _pairs(row):
                self.pair_counts[pair] += count
                self._rows_with[pair].append(index)

    def count(self, left: int, right: int) -> int:
        """How often a pair occurs."""
        return self.pair_counts.get(left << PAIR_BITS | right, 0)

    def symbol_counts(self, symbols: Iterable[int]) -> dict[int, int]:
        """How often each of the symbols occurs."""
        total = dict.fromkeys(symbols, 0)
        if total:
            for row, count in zip(self._rows, self._counts, strict=True):
                for symbol in row:
                    if symbol in total:
                        total[symbol] += count
        return total

    def merge(self, left: int, right: int, product: int) -> set[int]:
        """Merge a pair everywhere; returns the pairs that became more frequent."""
        pair = left << PAIR_BITS | right
        grown: set[int] = set()
        for index in self._rows_with.pop(pair, ()):
            row, count = self._rows[index], self._counts[index]
            merged = _merged(row, left, right, product)
            if len(merged) == len(row):
                continue
            before, after = Counter(_pairs(row)), Counter(_pairs(merged))
            self._rows[index] = merged
            for changed in before.keys() | after.keys():
                difference = after[changed] - before[changed]
                if difference == 0:
                    continue
                self.pair_counts[changed] += difference * count
                if difference > 0:
                    grown.add(changed)
                    if changed not in before:
                        self._rows_with[changed].append(index)
        self.pair_counts.pop(pair, None)
        return grown

    def count_after(self, row: Sequence[int], plan: Sequence[tuple[int, int, int]]) -> int:
        """How often the last product of a plan would occur if its merges were made now.

        Args:
            row: the symbols that the plan merges into one; only sequences that contain them count.
            plan: left, right and product of each merge.
        """
        rarest = min(
            (left << PAIR_BITS | right for left, right in pairwise(row)), key=lambda p: self.pair_counts.get(p, 0)
        )
        total = 0
        for index in dict.fromkeys(self._rows_with.get(rarest, ())):
            merged = self._rows[index]
            for left, right, product in plan:
                merged = _merged(merged, left, right, product)
            total += self._counts[index] * merged.count(plan[-1][2])
        return total


def train(sequences: Sequences, symbols: Symbols, limit: int, min_count: int) -> list[Graft]:
    """Continue BPE training on the sequences.

    Args:
        sequences: the target text in symbols; merged in place.
        symbols: their names; grafts are added.
        limit: the most grafts to make.
        min_count: training stops before a token with a lower count.

    Returns:
        Grafts in the order of their ranks; of equal savings the smaller symbols come first.
    """
    grafts: list[Graft] = []
    heap = [(-count, pair >> PAIR_BITS, pair & _RIGHT) for pair, count in sequences.pair_counts.items()]
    character_counts = sequences.symbol_counts(symbols.characters.values())
    for character, symbol in symbols.characters.items():
        saved = character_counts[symbol] * (len(character.encode()) - 1)
        # A one-byte character saves nothing as a token but must precede the merges that contain it.
        heap.append((-max(saved, character_counts[symbol]), _CHARACTER, symbol))
    heapq.heapify(heap)
    while heap and len(grafts) < limit:
        rank, left, right = heapq.heappop(heap)
        if left == _CHARACTER:
            name = symbols.names[right]
            if character_counts[right] >= min_count and name not in symbols.taken:
                symbols.taken.add(name)
                grafts.append(Graft(name, character_counts[right]))
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
            heapq.heappush(heap, (-sequences.pair_counts[pair], pair >> PAIR_BITS, pair & _RIGHT))
    return grafts


def adopt(
    sequences: Sequences,
    symbols: Symbols,
    candidates: Sequence[tuple[str, Sequence[int]]],
    limit: int,
    min_count: int,
) -> list[Graft]:
    """Graft a donor's tokens, each with the intermediates that it requires.

    Args:
        sequences: the target text in symbols; merged in place.
        symbols: their names; grafts are added.
        candidates: best first; spelling and the pruned tokenizer's segmentation of it.
        limit: the most grafts to make, intermediates included.
        min_count: the least count in the text of a candidate that is taken.

    Returns:
        Grafts in the order of their ranks; intermediates have the origin ``closure``.
    """
    donor_tokens = {token for token, _ in candidates}
    appended = MergeTable()
    character_counts = sequences.symbol_counts(symbols.characters.values())
    grafts: list[Graft] = []
    for token, segmentation in candidates:
        if len(grafts) == limit:
            break
        if token in symbols.taken:
            continue
        row = list(segmentation)
        appended.run(row)
        number_of_symbols = len(symbols.names)
        missing = symbols.missing(row)
        plan = _plan(row, sequences, symbols, donor_tokens)
        fits = plan is not None and len(grafts) + len(missing) + len(plan) <= limit
        if not fits or plan is None or _count_of_product(row, plan, sequences, character_counts) < min_count:
            del symbols.names[number_of_symbols:]
            continue
        grafts += [_adopted(symbols, symbol, character_counts[symbol], None, donor_tokens) for symbol in missing]
        for left, right, product in plan:
            merge, count = (symbols.names[left], symbols.names[right]), sequences.count(left, right)
            grafts.append(_adopted(symbols, product, count, merge, donor_tokens))
            sequences.merge(left, right, product)
            appended.append(left, right, product)
    return grafts


def _count_of_product(
    row: Sequence[int], plan: Sequence[tuple[int, int, int]], sequences: Sequences, character_counts: Mapping[int, int]
) -> int:
    """How often the product of a plan would occur in the text; without a plan the row is one character."""
    return sequences.count_after(row, plan) if plan else character_counts[row[0]]


def _adopted(symbols: Symbols, symbol: int, count: int, merge: tuple[str, str] | None, donor_tokens: set[str]) -> Graft:
    name = symbols.names[symbol]
    symbols.taken.add(name)
    return Graft(name, count, merge=merge, origin="target-language" if name in donor_tokens else "closure")


def _plan(
    row: Sequence[int], sequences: Sequences, symbols: Symbols, donor_tokens: set[str]
) -> list[tuple[int, int, int]] | None:
    """Merges (left, right, product) of a row into one symbol; ``None`` where a product's name is taken.

    At each step the pair whose product the donor has comes first, then the most frequent, then the leftmost. The
    products are added to the symbols.
    """
    plan: list[tuple[int, int, int]] = []
    rest = list(row)
    while len(rest) > 1:
        options = [
            (name not in donor_tokens, -sequences.count(left, right), at, name)
            for at, (left, right) in enumerate(pairwise(rest))
            if (name := symbols.product(left, right)) is not None
        ]
        if not options:
            return None
        *_, at, name = min(options)
        left, right, product = rest[at], rest[at + 1], symbols.add(name)
        plan.append((left, right, product))
        rest = _merged(rest, left, right, product)
    return plan


def _pairs(row: Sequence[int]) -> Iterator[int]:
    """The pairs that can be merged at once: in a run of equal symbols every other one."""
    previous = -1
    for left, right in pairwise(row):
        pair = left << PAIR_BITS | right
        if pair == previous:
            previous = -1
        else:
            yield pair
            previous = pair


def _merged(row: list[int], left: int, right: int, product: int) -> list[int]:
    """The row with each pair merged, from the left."""
    if left not in row:
        return row
    merged, at, end = [], 0, len(row)
    while at < end:
        if row[at] == left and at + 1 < end and row[at + 1] == right:
            merged.append(product)
            at += 2
        else:
            merged.append(row[at])
            at += 1
    return merged
