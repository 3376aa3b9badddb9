"""Reading sentence pairs with human scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from langtailor.config.sentence_pairs import StsPairs
from langtailor.errors import SourceError
from langtailor.sources.table_files import chosen, read_frame


@dataclass(frozen=True)
class SentencePairs:
    """Sentence pairs and the score that people gave them."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    gold: NDArray[np.float64]


def read_pairs(source: StsPairs) -> SentencePairs:
    """Read sentence pairs with their scores from a file or from the Hub.

    Raises:
        SourceError: the file cannot be read, a column is missing, or a score is not a number.
    """
    label = source.path or str(source.dataset)
    frame = (
        read_frame(Path(label), source.columns)
        if source.path is not None
        else chosen(_read_hub(source), source.columns, label)
    )
    first, second, gold = (frame[column] for column in source.columns)
    numbers = pd.to_numeric(gold, errors="coerce")
    bad = numbers.isna() | first.isna() | second.isna()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise SourceError(f"{label}: row {row + 1} is not two sentences and a number: {frame.iloc[row].to_dict()}")
    if len(frame) < 3:
        raise SourceError(f"{label}: {len(frame)} pairs are too few for a correlation; at least 3 are needed")
    return SentencePairs(tuple(first), tuple(second), numbers.to_numpy(dtype=np.float64))


def _read_hub(source: StsPairs) -> pd.DataFrame:
    from datasets import load_dataset

    from langtailor.sources.hub import resolve_revision

    commit = resolve_revision(str(source.dataset), "dataset", source.revision)
    data = load_dataset(str(source.dataset), source.subset, split=source.split, revision=commit)
    return pd.DataFrame(data.to_pandas())
