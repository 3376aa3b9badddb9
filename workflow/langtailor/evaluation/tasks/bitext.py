"""Finding the translation of a sentence among all the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from langtailor.config.base import UserPath, problem
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.errors import SourceError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Floats, Score, mean_score
from langtailor.evaluation.task import Inputs, TaskResult, VectorTask
from langtailor.models.similarity import COSINE, Similarity

_ROWS_AT_ONCE = 1_024
_NEIGHBOURS = 4


@task_kind
class BitextTask(VectorTask):
    """Finding the translation of a sentence: accuracy in both directions."""

    kind: Literal["bitext"]
    source: UserPath
    """A language of the corpus (its test split's pairs are used), or a file with one sentence per line."""
    target: UserPath | None = None
    """The file whose line i translates line i of `source`; with a language, `null` uses the aligned texts."""
    margin: bool = False
    """Score by ratio margin over 4 neighbours (Artetxe and Schwenk 2019) instead of cosine."""

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        if self.target is not None:
            return TaskNeeds(files=(self.source, self.target))
        if self.source not in languages:
            raise problem(
                "source",
                f"found {self.source!r}, which is none of corpus.languages {list(languages)}; a file needs a target",
            )
        return TaskNeeds((self.source,))

    def texts_only(self) -> Self | None:
        return None if self.target is None else self.only("source", "target")

    def texts(self) -> Iterable[str]:
        return () if self.target is None else chain(*_file_pairs(self.source, self.target))

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        sides = _corpus_pairs(inputs) if self.target is None else _file_pairs(self.source, self.target)
        # The ratio of two similarities says something for the cosine alone.
        similarity = COSINE if self.margin else evaluator.similarity
        source, target = (
            self.encode(evaluator, texts, f"encoding {side} side", similarity=similarity)
            for side, texts in zip(("source", "target"), sides, strict=True)
        )
        forward = translations_found(source, target, similarity, margin=self.margin)
        backward = translations_found(target, source, similarity, margin=self.margin)
        return TaskResult(*bitext_scores(forward, backward, evaluator.resamples, evaluator.seed))


def _corpus_pairs(inputs: Inputs) -> tuple[list[str], list[str]]:
    """Passages of the one language with their aligned texts."""
    ((lang, table),) = inputs.test_split()
    texts, aligned = (table[column].to_pylist() for column in ("text", "pair"))
    pairs = [(text, pair) for text, pair in zip(texts, aligned, strict=True) if pair]
    if not pairs:
        raise SourceError(f"bitext task: the test split of {lang!r} has no aligned texts; give a file and a target")
    source, target = zip(*pairs, strict=True)
    return list(source), list(target)


def _file_pairs(source: str, target: str) -> tuple[list[str], list[str]]:
    sources, targets = (_lines(Path(path)) for path in (source, target))
    if len(sources) != len(targets):
        raise SourceError(f"{source} has {len(sources)} lines and {target} has {len(targets)}: not aligned")
    if not sources:
        raise SourceError(f"{source}: no sentences")
    return sources, targets


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines(): a sentence may hold a line separator of another kind.
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as lines of text: {error}") from error
    if lines == [""]:
        return []
    if blank := [number for number, line in enumerate(lines, start=1) if not line.strip()]:
        raise SourceError(f"{path}: line {blank[0]} is empty, so that line of the other file has no translation")
    return lines


def bitext_scores(
    forward: Floats, backward: Floats, resamples: int, seed: int
) -> tuple[tuple[Score, ...], dict[str, tuple[float, ...]]]:
    """Share of sentences whose nearest neighbour on the other side is their translation, in both directions.

    The error of the LASER papers (Artetxe and Schwenk 2019, https://arxiv.org/abs/1812.10464) is 100 minus the
    accuracy.

    Args:
        forward: float64, shape (n,): for each source sentence 100 where its translation is found, else 0.
        backward: the same for the target sentences.
        resamples: bootstrap resamples.
        seed: seeds the bootstrap.

    Returns:
        Scores (mean of both directions first) and, for each sentence, 100, 50 or 0: found in both directions, in one,
        or in none.
    """
    both = (forward + backward) / 2
    scores = tuple(
        mean_score("accuracy", hits, resamples, seed, group=group)
        for group, hits in (("both directions", both), ("forward", forward), ("backward", backward))
    )
    return scores, {"both directions": tuple(both.tolist())}


def translations_found(
    queries: NDArray[np.float32], keys: NDArray[np.float32], similarity: Similarity, *, margin: bool
) -> Floats:
    """Whether the most similar key of each query is the one in the same row.

    Args:
        queries: float32, shape (n, d), prepared for the similarity.
        keys: float32, shape (n, d), likewise.
        similarity: how vectors are compared.
        margin: rank by the ratio margin of the similarity (https://arxiv.org/abs/1811.01136) instead.

    Returns:
        float64, shape (n,): 100 or 0.
    """
    key_means = _neighbour_means(keys, queries, similarity) if margin else None
    nearest = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        similarities = similarity.matrix(queries[rows], keys)
        if key_means is not None:
            query_means = _mean_of_largest(similarities)
            similarities = np.asarray(similarities / (query_means[:, None] / 2 + key_means[None, :] / 2), np.float32)
        nearest[rows] = similarities.argmax(axis=1)
    return np.where(nearest == np.arange(len(queries)), 100.0, 0.0)


def _neighbour_means(
    queries: NDArray[np.float32], keys: NDArray[np.float32], similarity: Similarity
) -> NDArray[np.float32]:
    """Mean similarity of each query to its nearest neighbours."""
    parts = [
        _mean_of_largest(similarity.matrix(queries[start : start + _ROWS_AT_ONCE], keys))
        for start in range(0, len(queries), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _mean_of_largest(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    k = min(_NEIGHBOURS, similarities.shape[1])
    return np.asarray(np.partition(similarities, -k, axis=1)[:, -k:].mean(axis=1), dtype=np.float32)
