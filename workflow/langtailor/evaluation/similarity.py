"""Semantic textual similarity: do the model's cosines order sentence pairs as people do?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import pearsonr, rankdata, spearmanr

from langtailor.config import StsTask
from langtailor.errors import SourceError
from langtailor.evaluation.files import chosen, read_frame
from langtailor.evaluation.scores import Floats, Score, bootstrap, interval


@dataclass(frozen=True)
class SentencePairs:
    """Sentence pairs and the score that people gave them."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    gold: Floats


def read_pairs(task: StsTask) -> SentencePairs:
    """Read the sentence pairs of a task from its file or from the Hub.

    Raises:
        SourceError: the file cannot be read, a column is missing, or a score is not a number.
    """
    label = task.path or str(task.dataset)
    frame = (
        read_frame(Path(label), task.columns) if task.path is not None else chosen(_read_hub(task), task.columns, label)
    )
    first, second, gold = (frame[column] for column in task.columns)
    numbers = pd.to_numeric(gold, errors="coerce")
    bad = numbers.isna() | first.isna() | second.isna()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise SourceError(f"{label}: row {row + 1} is not two sentences and a number: {frame.iloc[row].to_dict()}")
    if len(frame) < 3:
        raise SourceError(f"{label}: {len(frame)} pairs are too few for a correlation; at least 3 are needed")
    return SentencePairs(tuple(first), tuple(second), numbers.to_numpy(dtype=np.float64))


def sts_scores(cosines: Floats, gold: Floats, resamples: int, seed: int) -> tuple[Score, ...]:
    """Spearman and Pearson correlation, times 100, with bootstrap intervals.

    Args:
        cosines: float64, shape (n,): the model's cosine of each pair.
        gold: float64, shape (n,): the human scores.
        resamples: bootstrap resamples.
        seed: seeds the bootstrap.
    """
    spearman = bootstrap(lambda rows: 100 * rowwise_spearman(cosines[rows], gold[rows]), len(gold), resamples, seed)
    pearson = bootstrap(lambda rows: 100 * rowwise_pearson(cosines[rows], gold[rows]), len(gold), resamples, seed)
    return (
        Score("spearman", round(100 * float(spearmanr(cosines, gold).statistic), 4), *interval(spearman), len(gold)),
        Score("pearson", round(100 * float(pearsonr(cosines, gold).statistic), 4), *interval(pearson), len(gold)),
    )


def rowwise_spearman(a: Floats, b: Floats) -> Floats:
    """Spearman's correlation of each row of ``a`` with the same row of ``b``; float64, shapes (b, n) to (b,)."""
    return rowwise_pearson(rankdata(a, axis=1), rankdata(b, axis=1))


def rowwise_pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> Floats:
    """Pearson's correlation of each row of ``a`` with the same row of ``b``; NaN where a row is constant."""
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=1) / spread, dtype=np.float64)


def _read_hub(task: StsTask) -> pd.DataFrame:
    from datasets import load_dataset

    from langtailor.hub import resolve_revision

    commit = resolve_revision(str(task.dataset), "dataset", task.revision)
    data = load_dataset(str(task.dataset), task.subset, split=task.split, revision=commit)
    return pd.DataFrame(data.to_pandas())
