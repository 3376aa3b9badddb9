"""Which passages a step sees: the next ``batch_size`` of an endless sequence.

The sequence is a function of the seed: epoch after epoch, each a fresh permutation. A batch may span two epochs, so that
every batch is full and the sampler's whole state is the step.
"""

from __future__ import annotations

import numpy as np

from langtailor.models.length_batches import Rows


class Stream:
    """The endless sequence of training passages.

    In an epoch each passage of a group is seen ``weight`` times: the whole part of the weight for sure, the rest by a
    draw that is new in every epoch. All epochs have the same length.

    Args:
        sizes: number of passages of each group (language); rows count through the groups.
        weights: weight of each group.
        seed: of all permutations.
    """

    def __init__(self, sizes: list[int], weights: list[float], seed: int) -> None:
        self._seed = seed
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._whole = [int(weight) for weight in weights]
        self._drawn = [round(size * (weight % 1)) for size, weight in zip(sizes, weights, strict=True)]
        self.epoch_length = sum(size * whole for size, whole in zip(sizes, self._whole, strict=True)) + sum(self._drawn)
        self._cached: tuple[int, Rows] | None = None

    def take(self, position: int, count: int) -> Rows:
        """Rows at ``position`` to ``position + count`` of the sequence; shape (count,)."""
        parts = []
        while count:
            epoch, offset = divmod(position, self.epoch_length)
            part = self._epoch(epoch)[offset : offset + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return np.concatenate(parts)

    def _epoch(self, number: int) -> Rows:
        if self._cached is None or self._cached[0] != number:
            self._cached = (number, self._permutation(np.random.default_rng([self._seed, number])))
        return self._cached[1]

    def _permutation(self, rng: np.random.Generator) -> Rows:
        parts = []
        for group, (whole, drawn) in enumerate(zip(self._whole, self._drawn, strict=True)):
            rows = np.arange(self._starts[group], self._starts[group + 1], dtype=np.int64)
            parts += [rows] * whole + [rng.permutation(rows)[:drawn]]
        return rng.permutation(np.concatenate(parts))
