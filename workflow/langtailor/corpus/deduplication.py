"""Leaving out passages that say what an earlier one said.

*Exact* duplicates agree after case folding and collapsing white space. *Near* duplicates share most of their
5-character shingles: MinHash signatures (Broder 1997) estimate the Jaccard similarity, and locality-sensitive hashing
over bands of a signature (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4) finds the few earlier
passages to compare with. The earlier passage stays, so that more text changes no decision; how the texts fall into
calls changes none either.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from langtailor.storage.batching import batched

Verdict = Literal["new", "exact_duplicate", "near_duplicate"]

SHINGLE = 5
PERMUTATIONS = 128
_SIGNATURE_BYTES = PERMUTATIONS * np.dtype(np.uint32).itemsize
#: Share of the pairs at the threshold itself that the bands must find; of more similar pairs they find more.
_RECALL = 0.99
#: Passages judged together: enough to amortise numpy's calls, few enough for small intermediate arrays.
_BLOCK = 512
#: Shingles whose hashes stay in the processor's cache while all permutations pass over them.
_TILE = 65_536
#: An index entry holds a band's hash in its upper bits and the number of a passage in its lower ones.
_NUMBER_MASK = np.uint64((1 << 28) - 1)
_SEPARATOR = "\0" * (SHINGLE - 1)

Signatures = NDArray[np.uint32]
Entries = NDArray[np.uint64]


class Deduplicator:
    """Judges passages in the order in which they come.

    Memory is bounded by the number of passages kept: about 100 bytes each, and with near duplicates another 8 a band; their
    signatures are in a temporary file.

    Args:
        similarity: estimated Jaccard similarity that makes a near duplicate; ``None`` looks for exact ones only.
    """

    def __init__(self, similarity: float | None) -> None:
        self._seen: set[bytes] = set()
        self._near = None if similarity is None else NearIndex(similarity)

    def judge(self, texts: Sequence[str]) -> list[Verdict]:
        """One verdict a text; those found ``new`` are remembered."""
        folded = [" ".join(text.casefold().split()) for text in texts]
        verdicts: list[Verdict] = ["exact_duplicate"] * len(texts)
        fresh = [i for i, text in enumerate(folded) if self._first_time(text)]
        similar = [False] * len(fresh) if self._near is None else self._near.judge([folded[i] for i in fresh])
        for i, is_near in zip(fresh, similar, strict=True):
            verdicts[i] = "near_duplicate" if is_near else "new"
        return verdicts

    def _first_time(self, text: str) -> bool:
        digest = hashlib.blake2b(text.encode(), digest_size=12).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True


class NearIndex:
    """The signatures of the texts that were kept, and an index of their bands."""

    def __init__(self, similarity: float) -> None:
        self._matches = similarity * PERMUTATIONS
        self._rows = band_rows(similarity)
        self._signatures = _SignatureFile()
        self._index: Entries = np.empty(0, np.uint64)

    def judge(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is a near duplicate of one kept before it; the others are kept."""
        verdicts: list[bool] = []
        for block in batched(texts, _BLOCK):
            verdicts += self._judge_block(block)
        return verdicts

    def _judge_block(self, texts: Sequence[str]) -> list[bool]:
        signatures = signatures_of(texts)
        keys = _band_keys(signatures, self._rows)
        firsts, lasts = np.searchsorted(self._index, keys), np.searchsorted(self._index, keys | _NUMBER_MASK)
        in_index: NDArray[np.bool_] = np.logical_or.reduce(firsts < lasts, axis=1)
        block: dict[int, list[int]] = {}
        base = len(self._signatures)
        duplicates = np.zeros(len(texts), bool)
        for row, row_keys in enumerate(keys.tolist()):
            numbers = {number for key in row_keys for number in block.get(key, ())}
            if in_index[row]:
                numbers.update(*(self._numbers(a, b) for a, b in zip(firsts[row], lasts[row], strict=True) if a < b))
            duplicates[row] = bool(numbers) and self._resembles(signatures[row], np.array(sorted(numbers)))
            if not duplicates[row]:
                for key in row_keys:
                    block.setdefault(key, []).append(len(self._signatures))
                self._signatures.append(signatures[row])
        kept = keys[np.flatnonzero(~duplicates)]
        self._add(kept | np.arange(base, len(self._signatures), dtype=np.uint64)[:, None])
        return list(duplicates.tolist())

    def _numbers(self, first: int, last: int) -> list[int]:
        """Numbers of the texts in a stretch of the index."""
        return list((self._index[first:last] & _NUMBER_MASK).tolist())

    def _resembles(self, signature: Signatures, numbers: NDArray[np.int64]) -> bool:
        matches = np.count_nonzero(self._signatures.rows(numbers) == signature, axis=1)
        return bool((matches >= self._matches).any())

    def _add(self, entries: Entries) -> None:
        fresh = np.sort(entries, axis=None)
        self._index = np.insert(self._index, np.searchsorted(self._index, fresh), fresh)


class _SignatureFile:
    """Signatures in a temporary file: each is written once, and few are ever compared.

    What is written does not count as memory of the process, and of what is mapped only the pages that are read.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it closes with the index
        self._count = 0
        self._mapped = self._map(1024)

    def __len__(self) -> int:
        return self._count

    def append(self, signature: Signatures) -> None:
        """Keep a signature, uint32 of shape (128,), under the next number."""
        if self._count == len(self._mapped):
            self._mapped = self._map(2 * self._count)
        os.pwrite(self._file.fileno(), signature.tobytes(), self._count * _SIGNATURE_BYTES)
        self._count += 1

    def rows(self, numbers: NDArray[np.int64]) -> Signatures:
        """The signatures of these numbers, uint32, shape (n, 128)."""
        return self._mapped[numbers]

    def _map(self, rows: int) -> Signatures:
        os.truncate(self._file.fileno(), rows * _SIGNATURE_BYTES)
        return np.memmap(self._file, np.uint32, "r", shape=(rows, PERMUTATIONS))


def signatures_of(texts: Sequence[str]) -> Signatures:
    """MinHash signatures of texts over their 5-character shingles, uint32, shape (texts, 128).

    The share of equal places in two signatures estimates the Jaccard similarity of the sets of shingles, with a
    standard deviation of at most 0.045. The end of a text counts as four characters of its own, so that texts shorter
    than a shingle have some.
    """
    signatures = np.empty((len(texts), PERMUTATIONS), np.uint32)
    start = 0
    while start < len(texts):
        stop, characters = start + 1, len(texts[start])
        while stop < len(texts) and characters + len(texts[stop]) <= _TILE:
            characters += len(texts[stop])
            stop += 1
        signatures[start:stop] = _tile_signatures(texts[start:stop])
        start = stop
    return signatures


def band_rows(similarity: float) -> int:
    """The longest bands with which a pair of this similarity still shares one in 99 of 100 cases."""
    rows = range(PERMUTATIONS, 1, -1)
    return next((r for r in rows if 1 - (1 - similarity**r) ** (PERMUTATIONS // r) >= _RECALL), 1)


def _tile_signatures(texts: Sequence[str]) -> Signatures:
    texts = [text or " " for text in texts]
    hashes = _shingle_hashes(_SEPARATOR.join([*texts, "\0"]))
    lengths = np.fromiter((len(text) for text in texts), np.int64, len(texts))
    # Start and end of each text's shingles; between an end and the next start lie shingles that mix two texts.
    ends = np.cumsum(lengths + len(_SEPARATOR)) - len(_SEPARATOR)
    bounds = np.stack([ends - lengths, ends], axis=1).ravel()
    signatures = np.empty((len(texts), PERMUTATIONS), np.uint32)
    permuted = np.empty_like(hashes)
    for place, (factor, offset) in enumerate(_permutations()):
        np.multiply(hashes, factor, out=permuted)
        np.add(permuted, offset, out=permuted)
        signatures[:, place] = np.minimum.reduceat(permuted, bounds)[::2]
    return signatures


def _shingle_hashes(text: str) -> NDArray[np.uint32]:
    """A well mixed hash of the shingle that starts at each character but the last four."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    count = len(codes) - SHINGLE + 1
    hashes = np.zeros(count, np.uint32)
    for place in range(SHINGLE):
        hashes *= np.uint32(0x01000193)
        hashes ^= codes[place : place + count]
    # The finaliser of MurmurHash3 (https://github.com/aappleby/smhasher).
    hashes ^= hashes >> np.uint32(16)
    hashes *= np.uint32(0x85EBCA6B)
    hashes ^= hashes >> np.uint32(13)
    hashes *= np.uint32(0xC2B2AE35)
    hashes ^= hashes >> np.uint32(16)
    return hashes


def _band_keys(signatures: Signatures, rows: int) -> Entries:
    """Hashes of the bands, shape (texts, bands), with the lower bits free for a number."""
    bands = PERMUTATIONS // rows
    values: Entries = signatures[:, : bands * rows].reshape(len(signatures), bands, rows).astype(np.uint64)
    factors = np.array([_random_bits(64, f"band {i}") | 1 for i in range(rows)], np.uint64)
    offsets = np.array([_random_bits(64, f"offset {i}") for i in range(bands)], np.uint64)
    keys: Entries = (values * factors).sum(axis=2, dtype=np.uint64) + offsets
    return keys & ~_NUMBER_MASK


@cache
def _permutations() -> list[tuple[np.uint32, np.uint32]]:
    """Factors (odd, so that multiplication permutes the 32-bit numbers) and offsets."""
    return [
        (np.uint32(_random_bits(32, f"factor {i}") | 1), np.uint32(_random_bits(32, f"shift {i}")))
        for i in range(PERMUTATIONS)
    ]


def _random_bits(bits: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=bits // 8).digest(), "big")
