"""Finding the translation of a sentence among all the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from langtailor.config.base import UserPath, problem
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.errors import SourceError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Score, mean_score
from langtailor.evaluation.task import Inputs, TaskResult, VectorTask

_ROWS_AT_ONCE = 1_024
_NEIGHBOURS = 4


@task_kind
class BitextTask(VectorTask):
    """Finding the translation of a sentence: accuracy in both directions."""

    kind: Literal["bitext"]
    source: UserPath
    """A language of the corpus (its test split's pairs are used), or a file with a sentence a line."""
    target: UserPath | None = None
    """The file whose line i translates line i of `source`; `null` with a language: the aligned texts."""
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

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        sides = _corpus_pairs(inputs) if self.target is None else _file_pairs(self.source, self.target)
        source, target = (
            self.encode(evaluator, texts, f"encoding {side} side")
            for side, texts in zip(("source", "target"), sides, strict=True)
        )
        resampling = {"resamples": evaluator.resamples, "seed": evaluator.seed}
        return TaskResult(*bitext_scores(source, target, margin=self.margin, **resampling))


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
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as lines of text: {error}") from error


def bitext_scores(
    source: NDArray[np.float32], target: NDArray[np.float32], *, margin: bool, resamples: int, seed: int
) -> tuple[tuple[Score, ...], dict[str, tuple[float, ...]]]:
    """Share of sentences whose nearest neighbour on the other side is their translation, in both directions.

    The error of the LASER papers (Artetxe and Schwenk 2019, https://arxiv.org/abs/1812.10464) is 100 minus the
    accuracy.

    Args:
        source: float32, shape (n, d), unit rows.
        target: float32, shape (n, d), unit rows; row i translates row i of ``source``.
        margin: rank by the ratio margin (https://arxiv.org/abs/1811.01136) instead of the cosine.
        resamples: bootstrap resamples.
        seed: seeds the bootstrap.

    Returns:
        Scores (mean of both directions first) and, for each sentence, 100, 50 or 0: found in both directions, in one,
        or in none.
    """
    forward = _hits(source, target, margin)
    backward = _hits(target, source, margin)
    both = (forward + backward) / 2
    scores = tuple(
        mean_score("accuracy", hits, resamples, seed, group=group)
        for group, hits in (("both directions", both), ("forward", forward), ("backward", backward))
    )
    return scores, {"both directions": tuple(both.tolist())}


def _hits(queries: NDArray[np.float32], keys: NDArray[np.float32], margin: bool) -> NDArray[np.float64]:
    scale = _mean_of_nearest(keys, queries) if margin else None
    found = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        cosines = queries[rows] @ keys.T
        if scale is not None:
            own = _mean_of_largest(cosines)
            cosines = cosines / (own[:, None] / 2 + scale[None, :] / 2)
        found[rows] = cosines.argmax(axis=1)
    return np.where(found == np.arange(len(queries)), 100.0, 0.0)


def _mean_of_nearest(queries: NDArray[np.float32], keys: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = [
        _mean_of_largest(queries[start : start + _ROWS_AT_ONCE] @ keys.T)
        for start in range(0, len(queries), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _mean_of_largest(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    k = min(_NEIGHBOURS, cosines.shape[1])
    return np.asarray(np.partition(cosines, -k, axis=1)[:, -k:].mean(axis=1), dtype=np.float32)
