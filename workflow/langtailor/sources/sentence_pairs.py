"""Reading sentence pairs with human scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langtailor.config.sentence_pairs import StsPairs
from langtailor.errors import SourceError
from langtailor.sources.hub_table import read_hub_table
from langtailor.sources.table_files import read_table


@dataclass(frozen=True)
class SentencePairs:
    """Sentence pairs and the score that people gave them."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    gold: NDArray[np.float64]


def read_pairs(source: StsPairs) -> SentencePairs:
    """Read sentence pairs with their scores from a file or from the Hub.

    Raises:
        HubError: the data set cannot be reached.
        SourceError: the data cannot be read, a column or a value is missing, or a score is not a number;
            there are fewer than 3 pairs, or all have the same score.
    """
    if source.dataset is not None:
        table = read_hub_table(source.dataset, source.subset, source.split, source.revision, source.columns)
    else:
        table = read_table(Path(str(source.path)), source.columns)
    first, second, score = source.columns
    pairs = SentencePairs(tuple(table.texts(first)), tuple(table.texts(second)), np.array(table.floats(score)))
    if len(table) < 3:
        raise SourceError(f"{table.source}: {len(table)} pairs are too few for a correlation; at least 3 are needed")
    if np.ptp(pairs.gold) == 0:
        raise SourceError(
            f"{table.source}: {score!r} is {pairs.gold[0]:g} for all {len(table):,} pairs, but a correlation needs different "
            "scores; give such pairs, or name the column of the scores in `columns`"
        )
    return pairs
