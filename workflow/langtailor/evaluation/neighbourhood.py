"""Which passages are near one another: for the teacher, for a model, and on a map that has both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from langtailor.models.nearest import nearest_others
from langtailor.models.similarity import COSINE

#: Group of the figure about neighbours.
NEIGHBOURS = "neighbours"
#: Nearest passages of each that are compared.
DEPTH = 10
#: Nearest passages of each that are named.
_NAMED = 3
#: Two similarities are equal up to this: products of the same vectors differ by rounding.
_ROUNDING = 1e-6

Point = tuple[float, float]


@dataclass(frozen=True)
class Neighbourhood:
    """Passages of several languages as the teacher and a model place them.

    Attributes:
        languages: language of each passage.
        texts: the passages.
        teacher: by passage, its place on the first two principal components of the teacher's vectors.
        model: by passage, the model's vector on the same two axes.
        explained: share of the variance of the teacher's vectors that the two axes have.
        teacher_nearest: by passage, rows of the passages that are nearest in the teacher's vectors.
        model_nearest: the same in the model's vectors.
    """

    languages: tuple[str, ...]
    texts: tuple[str, ...]
    teacher: tuple[Point, ...]
    model: tuple[Point, ...]
    explained: float
    teacher_nearest: tuple[tuple[int, ...], ...]
    model_nearest: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls,
        texts: Sequence[tuple[str, str]],
        teacher: NDArray[np.float32],
        model: NDArray[np.float32],
    ) -> Self:
        """The neighbourhood of passages.

        Args:
            texts: language and text of each passage; at least two.
            teacher: the teacher's vectors; float32, shape (n, d), unit rows.
            model: the model's vectors of the same passages, likewise.
        """
        centre, axes, explained = principal_plane(teacher)

        def places(vectors: NDArray[np.float32]) -> tuple[Point, ...]:
            return tuple((x, y) for x, y in ((vectors - centre) @ axes.T).round(4).tolist())

        def near(vectors: NDArray[np.float32]) -> tuple[tuple[int, ...], ...]:
            return tuple(map(tuple, nearest_others(vectors, _NAMED).tolist()))

        return cls(
            languages=tuple(lang for lang, _ in texts),
            texts=tuple(text for _, text in texts),
            teacher=places(teacher),
            model=places(model),
            explained=round(explained, 4),
            teacher_nearest=near(teacher),
            model_nearest=near(model),
        )

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of :func:`dataclasses.asdict`, after JSON."""
        return cls(**{name: _tuples(value) for name, value in content.items()})


def neighbours_kept(
    teacher: NDArray[np.float32], model: NDArray[np.float32], depth: int = DEPTH
) -> NDArray[np.float64]:
    """How many of the passages that a model finds nearest are among the teacher's nearest.

    Passages that the teacher finds as near as its last one count as well, so that it does not matter which of several
    equal ones is taken.

    Args:
        teacher: the teacher's vectors; float32, shape (n, d), unit rows, n at least 2.
        model: the model's vectors of the same passages, likewise.
        depth: nearest passages of each, or all others where there are not so many.

    Returns:
        float64, shape (n,); percent.
    """
    similarity = _others(teacher)
    nearest = nearest_others(model, depth)
    last = np.take_along_axis(similarity, nearest_others(teacher, depth)[:, -1:], axis=1)
    kept = np.take_along_axis(similarity, nearest, axis=1) >= last - _ROUNDING
    return np.asarray(100 * kept.mean(axis=1), dtype=np.float64)


def principal_plane(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The plane in which vectors differ most.

    Args:
        vectors: float32, shape (n, d).

    Returns:
        Their mean, shape (d,); the two axes, shape (2, d), each with its largest component positive; and the share of the
        variance that these have.
    """
    centre = vectors.mean(axis=0, dtype=np.float64)
    _, lengths, axes = np.linalg.svd(vectors - centre, full_matrices=False)
    axes = np.pad(axes[:2], ((0, max(0, 2 - len(axes))), (0, 0)))
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    variance = float(np.square(lengths).sum())
    return centre, axes * np.where(largest < 0, -1.0, 1.0), float(np.square(lengths[:2]).sum()) / (variance or 1.0)


def _others(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Similarity of all pairs, and minus infinity of each vector to itself."""
    similarity = COSINE.matrix(vectors, vectors)
    np.fill_diagonal(similarity, -np.inf)
    return similarity


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
