"""Candidates to rank for each query and each document: the most similar ones by the teacher's stored vectors.

No model is loaded. The search is exact, in blocks. A hard negative that is nearly as similar as the positive may be a false
one, and is left out by the threshold of NV-Retriever (Moreira et al. 2024, arXiv 2407.15831, "TopK-PercPos").
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from langtailor.config.queries import QuerySettings
from langtailor.corpus.reading import read_corpus
from langtailor.distillation.candidates import NONE
from langtailor.models.nearest import QUERIES_AT_ONCE, Hide, nearest
from langtailor.models.similarity import COSINE, unit
from langtailor.progress import Progress
from langtailor.retrieval.texts import SIDES
from langtailor.storage.artifacts import Manifest
from langtailor.storage.digests import sha256_file
from langtailor.storage.tables import ANSWERS, CANDIDATES, read_table, write_table
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")
Vectors = NDArray[np.float32]
#: For each row of one side, rows of the other.
RowLists = Sequence[Sequence[int]]


@dataclass(frozen=True)
class _Side:
    """One side of retrieval in one language.

    Attributes:
        texts: its file, as a corpus is.
        vectors: the teacher's, of length 1; float32, shape (n, d).
        positives: for each row, its positives on the other side.
        known_negatives: likewise those that the source says are negatives.
    """

    texts: Path
    vectors: Vectors
    positives: RowLists
    known_negatives: RowLists


def mine_candidates(
    texts: Mapping[str, Path], vectors: Mapping[str, Sequence[Path]], settings: QuerySettings, out: Mapping[str, Path]
) -> None:
    """Find the candidates of queries and documents of one language.

    Args:
        texts: ``queries``, ``documents`` and ``answers`` of :func:`langtailor.retrieval.texts.write_texts`.
        vectors: by side, the teacher's vector shards of its texts.
        settings: how many candidates there are, and which are too similar.
        out: the files by side (:data:`~langtailor.storage.tables.CANDIDATES`): for each row, the most similar positive of
            the other side, then the negatives that the source names, then hard negatives, the most similar first.

    Raises:
        ArtifactError: an input is damaged, or the inputs do not belong together.
    """
    queries, documents = _sides(texts, vectors)
    made_by = {"candidates": settings.candidates, "most_similar": settings.most_similar}
    inputs = {name: sha256_file(path) for name, path in texts.items()}
    for name, side, other in zip(SIDES, (queries, documents), (documents, queries), strict=True):
        lists = ranked(
            *(side.vectors, other.vectors, side.positives, side.known_negatives),
            *(settings.candidates, settings.most_similar),
        )
        _write(out[name], side.texts, lists, Manifest("candidates", made_by, inputs))


def _sides(texts: Mapping[str, Path], vectors: Mapping[str, Sequence[Path]]) -> tuple[_Side, _Side]:
    table, _ = read_table(texts["answers"], "answers", ANSWERS)
    answers, negatives = (table[column].to_pylist() for column in ("answers", "negatives"))
    queries, documents = (_vectors(texts[side], vectors[side]) for side in SIDES)
    answered, unanswered = (_reversed(rows, len(documents)) for rows in (answers, negatives))
    return (
        _Side(texts["queries"], queries, answers, negatives),
        _Side(texts["documents"], documents, answered, unanswered),
    )


def _vectors(texts: Path, shards: Sequence[Path]) -> Vectors:
    store = VectorStore.open(shards)
    store.check_ids(read_corpus(texts, columns=["id"])["id"])
    return unit(store.take(np.arange(len(store))))


def _reversed(lists: RowLists, count: int) -> RowLists:
    back: list[list[int]] = [[] for _ in range(count)]
    for row, others in enumerate(lists):
        for other in others:
            back[other].append(row)
    return back


def ranked(
    vectors: Vectors,
    others: Vectors,
    positives: RowLists,
    known_negatives: RowLists,
    depth: int,
    most_similar: float,
) -> list[list[int]]:
    """Candidates of each row.

    Args:
        vectors: of length 1; float32, shape (n, d).
        others: likewise, shape (m, d).
        positives: for each row, which others are positives.
        known_negatives: for each row, which others are negatives by the source; they come next.
        depth: length of a list, which is shorter where there are not so many others.
        most_similar: hard negatives above this share of the cosine of the most similar positive are left out.

    Returns:
        For each row the most similar positive, or -1 where there is none, then negatives.
    """
    lists: list[list[int]] = []
    with Progress("looking for candidates", len(vectors), "text") as progress:
        for start in range(0, len(vectors), QUERIES_AT_ONCE):
            rows = range(start, min(start + QUERIES_AT_ONCE, len(vectors)))
            best, bounds = _best_positives(vectors, others, positives, rows, most_similar)
            hide = _mask_excluded(bounds, [{*positives[row], *known_negatives[row]} for row in rows])
            similar, cosines = nearest(vectors[rows.start : rows.stop], others, depth - 1, COSINE, hide)
            for number, row in enumerate(rows):
                negatives = [other for other in known_negatives[row] if other not in positives[row]]
                negatives += similar[number, np.isfinite(cosines[number])].tolist()
                lists.append([best[number], *negatives[: depth - 1]])
            progress.update(len(rows))
    return lists


def _best_positives(
    vectors: Vectors, others: Vectors, positives: RowLists, rows: range, most_similar: float
) -> tuple[list[int], NDArray[np.float32]]:
    """The most similar positive of each row, and the cosine above which hard negatives are left out."""
    best, bounds = [], np.full(len(rows), np.inf, np.float32)
    for number, row in enumerate(rows):
        cosines = others[list(positives[row])] @ vectors[row]
        if not len(cosines):
            best.append(NONE)
            continue
        place = int(cosines.argmax())
        best.append(int(positives[row][place]))
        # As far below the positive's cosine, whatever its sign.
        bounds[number] = cosines[place] - (1 - most_similar) * abs(cosines[place])
    return best, bounds


def _mask_excluded(bounds: NDArray[np.float32], excluded: Sequence[set[int]]) -> Hide:
    """Masks, for each vector of a block, others above its bound and those that are excluded."""

    def hide(block: Vectors, first: int) -> None:
        block[block > bounds[:, None]] = -np.inf
        for number, rows in enumerate(excluded):
            block[number, [row - first for row in rows if first <= row < first + block.shape[1]]] = -np.inf

    return hide


def _write(path: Path, texts: Path, lists: Sequence[Sequence[int]], manifest: Manifest) -> None:
    table = read_corpus(texts, columns=["id", "split"])
    columns: list[Any] = [table["id"].to_pylist(), table["split"].to_pylist(), lists]
    negatives = sum(len(candidates) - 1 for candidates in lists)
    _LOG.info("%s: %.1f other candidates per text", path.stem, negatives / max(1, len(lists)))
    write_table(path, pa.table(columns, schema=CANDIDATES), manifest)
