"""How vectors are spread on the sphere: translations near one another, everything else far apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from langtailor.config.corpus import ALL_LANGUAGES
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Floats, Score, mean_score
from langtailor.evaluation.task import EvaluationTask, Inputs, TaskResult, rounded
from langtailor.models.similarity import COSINE

_LOG = logging.getLogger("langtailor")
_ROWS_AT_ONCE = 1_024
#: Most rows whose pairs are compared: all pairs of more would cost minutes and change no digit that matters.
_MOST_ROWS = 8_192


@task_kind
class GeometryTask(EvaluationTask):
    """Alignment (squared distance of each test passage to its aligned text) and uniformity of the vectors, per language."""

    less_is_better = ("alignment", "uniformity")

    kind: Literal["geometry"]

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        return TaskNeeds(tuple(languages))

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        vectors, aligned = {}, {}
        for lang, table in inputs.test_split():
            texts, pairs = (table[column].to_pylist() for column in ("text", "pair"))
            if not texts:
                _LOG.warning("%s: no test passages; geometry leaves it out", lang)
                continue
            prompt = evaluator.language_prompt(lang)
            vectors[lang] = evaluator.vectors(texts, f"encoding {lang}", prompt, similarity=COSINE)
            paired = [row for row, pair in enumerate(pairs) if pair]
            if paired:
                label = f"encoding aligned texts of {lang}"
                others = evaluator.vectors([pairs[row] for row in paired], label, prompt, similarity=COSINE)
                aligned[f"{lang} to aligned text"] = alignment(vectors[lang][paired], others)
        if not vectors:
            return TaskResult(())
        groups = {ALL_LANGUAGES: np.concatenate(list(vectors.values())), **vectors}
        scores = [
            Score("uniformity", round(uniformity(rows), 4), None, None, len(rows), group)
            for group, rows in groups.items()
            if len(rows) > 1
        ]
        scores += [
            mean_score("alignment", distances, evaluator.resamples, evaluator.seed, group=group)
            for group, distances in aligned.items()
        ]
        return TaskResult(tuple(scores), {group: rounded(distances) for group, distances in aligned.items()})


def alignment(first: NDArray[np.float32], second: NDArray[np.float32]) -> Floats:
    """Squared distance of each pair (Wang and Isola 2020, https://arxiv.org/abs/2005.10242, with alpha = 2).

    Args:
        first: float32, shape (n, d), unit rows.
        second: float32, shape (n, d), unit rows; row i belongs to row i of ``first``.

    Returns:
        float64, shape (n,); 0 for equal vectors, 4 for opposite ones. The mean is the alignment: lower is better.
    """
    return np.asarray(np.square(first.astype(np.float64) - second).sum(axis=1))


def uniformity(vectors: NDArray[np.float32]) -> float:
    """Logarithm of the mean Gaussian potential of all pairs of rows (the same paper, with t = 2).

    Args:
        vectors: float32, shape (n, d), unit rows; at least two. Of more than 8,192, that many at equal distances.

    Returns:
        From -4 (spread out) to 0 (all in one place): lower is better.
    """
    if len(vectors) > _MOST_ROWS:
        vectors = vectors[np.linspace(0, len(vectors) - 1, _MOST_ROWS).astype(np.int64)]
    total = 0.0
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        cosines = vectors[start : start + _ROWS_AT_ONCE] @ vectors.T
        # |x - y|^2 = 2 - 2 x.y for unit rows.
        total += float(np.exp(4.0 * cosines.astype(np.float64) - 4.0).sum())
    others = len(vectors) * (len(vectors) - 1)
    return float(np.log((total - len(vectors)) / others))
