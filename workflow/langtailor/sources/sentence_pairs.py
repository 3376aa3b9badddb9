"""Reading sentence pairs with human scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langtailor.config.sentence_pairs import StsPairs
from langtailor.errors import SourceError
from langtailor.sources.table_files import Table, read_table, table_of


@dataclass(frozen=True)
class SentencePairs:
    """Sentence pairs and the score that people gave them."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    gold: NDArray[np.float64]


def read_pairs(source: StsPairs) -> SentencePairs:
    """Read sentence pairs with their scores from a file or from the Hub.

    Raises:
        SourceError: the data cannot be read, a column or a value is missing, or a score is not a number.
    """
    table = _read_hub(source) if source.path is None else read_table(Path(source.path), source.columns)
    first, second, score = source.columns
    pairs = SentencePairs(tuple(table.texts(first)), tuple(table.texts(second)), np.array(table.floats(score)))
    if len(table) < 3:
        raise SourceError(f"{table.source}: {len(table)} pairs are too few for a correlation; at least 3 are needed")
    return pairs


def _read_hub(source: StsPairs) -> Table:
    from datasets import load_dataset

    from langtailor.sources.hub import resolve_revision

    name = str(source.dataset)
    commit = resolve_revision(name, "dataset", source.revision)
    data = load_dataset(name, source.subset, split=source.split, revision=commit)
    return table_of(name, "row", enumerate(data, start=1), source.columns)
