"""Scores, their bootstrap intervals, and the artifact that holds them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langtailor.evaluation.neighbourhood import Neighbourhood
from langtailor.storage.artifacts import read_json, write_json

_LOG = logging.getLogger("langtailor")
_KIND = "evaluation"
#: Resampled indices that take about a second.
_SLOW = 100_000_000
#: Resampled indices in memory at once, whatever the number of items.
_INDICES_AT_ONCE = 2_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """One figure.

    Attributes:
        metric: what is measured, for example ``spearman``.
        value: the figure; correlations and accuracies times 100.
        low: lower end of the 95 % bootstrap interval, ``None`` where none was asked for.
        high: upper end.
        n: number of items behind it.
        group: language or direction, where a task has several.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    group: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """The result of one task for one model.

    Attributes:
        task: the task's name in the configuration.
        kind: the task's kind.
        model: digest of the model's manifest.
        scores: the figures; the first is the task's main one.
        items: figures per item by group, in a fixed order and on the scale of the score, so that two models can be
            compared pair by pair.
        gold: what the items are correlated with, for tasks whose metric is a correlation.
        versions: versions of the libraries that computed it.
        neighbourhood: passages as the teacher and the model place them, of tasks that have both models' vectors.
    """

    task: str
    kind: str
    model: str
    scores: tuple[Score, ...]
    items: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    gold: tuple[float, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    neighbourhood: Neighbourhood | None = None

    @property
    def main(self) -> Score:
        """The task's main figure."""
        return self.scores[0]

    def write(self, path: Path) -> None:
        """Write the result as a checksummed JSON artifact."""
        write_json(path, _KIND, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Inverse of :meth:`write`. Raises :class:`~langtailor.errors.ArtifactError` on damage."""
        content: dict[str, Any] = read_json(path, _KIND)
        content["scores"] = tuple(Score(**score) for score in content["scores"])
        content["items"] = {group: tuple(values) for group, values in content["items"].items()}
        content["gold"] = tuple(content["gold"])
        if content["neighbourhood"] is not None:
            content["neighbourhood"] = Neighbourhood.from_plain(content["neighbourhood"])
        return cls(**content)


def bootstrap(statistic: Callable[[NDArray[np.int64]], Floats], n: int, resamples: int, seed: int) -> Floats:
    """The statistic of ``resamples`` resamples of ``n`` items (Efron 1979).

    Args:
        statistic: maps indices, int64 of shape (b, n), to figures of shape (b,).
        n: number of items.
        resamples: number of resamples.
        seed: seeds the resampling; equal seeds and ``n`` give the same resamples, so that two models are paired.

    Returns:
        float64, shape (resamples,).
    """
    from scipy import stats

    if n < 2 or not resamples:  # of which scipy makes no resamples
        return np.repeat(statistic(np.zeros((1, n), np.int64)), resamples)
    if n * resamples > _SLOW:
        _LOG.info("bootstrap: %s resamples of %s items", f"{resamples:,}", f"{n:,}")
    result = stats.bootstrap(
        (np.arange(n),),
        lambda rows, axis: statistic(rows),
        n_resamples=resamples,
        batch=max(1, _INDICES_AT_ONCE // n),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return np.asarray(result.bootstrap_distribution, dtype=np.float64)


def interval(samples: Floats) -> tuple[float | None, float | None]:
    """The 95 % percentile interval of bootstrap figures; ``(None, None)`` when there are none."""
    finite = samples[np.isfinite(samples)]
    if not finite.size:
        return None, None
    low, high = np.percentile(finite, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def mean_score(metric: str, items: Floats, resamples: int, seed: int, *, group: str | None = None) -> Score:
    """The mean of per-item figures with its interval."""
    samples = bootstrap(lambda rows: items[rows].mean(axis=1), len(items), resamples, seed)
    return Score(metric, round(float(items.mean()), 4), *interval(samples), len(items), group)
