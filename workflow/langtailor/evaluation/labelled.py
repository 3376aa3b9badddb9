"""What can be told from frozen vectors: a text's class, and which texts belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langtailor.errors import SourceError
from langtailor.evaluation.scores import Score, mean_score
from langtailor.sources.table_files import read_frame

_GROUP = "all texts"
_ITERATIONS = 1_000
#: Runs of k-means from other starting points, whose mean is told.
_STARTS = 10


def read_labelled(path: str, text: str | int, label: str | int) -> tuple[list[str], list[str]]:
    """Texts and their labels.

    Raises:
        SourceError: the file cannot be read, a column is missing, or fewer than two labels occur.
    """
    frame = read_frame(Path(path), (text, label))
    texts, labels = ([str(value) for value in frame[column]] for column in (text, label))
    if len(set(labels)) < 2:
        raise SourceError(f"{path}: the column {label!r} has {len(set(labels))} labels; at least 2 are needed")
    return texts, labels


def classification_scores(
    train: NDArray[np.float32],
    train_labels: Sequence[str],
    test: NDArray[np.float32],
    test_labels: Sequence[str],
    resamples: int,
    seed: int,
) -> tuple[tuple[Score, ...], dict[str, tuple[float, ...]]]:
    """Accuracy and macro-averaged F1, times 100, of logistic regression on frozen vectors.

    Args:
        train: float32, shape (n, d).
        train_labels: their labels.
        test: float32, shape (m, d).
        test_labels: their labels.
        resamples: bootstrap resamples.
        seed: seeds the bootstrap and the solver.

    Returns:
        Scores, accuracy first, and 100 or 0 for each test text.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    model = LogisticRegression(max_iter=_ITERATIONS, random_state=seed).fit(train, list(train_labels))
    found = model.predict(test)
    hits = np.where(found == np.asarray(test_labels), 100.0, 0.0)
    macro = 100 * float(f1_score(list(test_labels), found, average="macro"))
    scores = (
        mean_score("accuracy", hits, resamples, seed, group=_GROUP),
        Score("macro F1", round(macro, 4), None, None, len(hits)),
    )
    return scores, {_GROUP: tuple(hits.tolist())}


def clustering_scores(vectors: NDArray[np.float32], labels: Sequence[str], seed: int) -> tuple[Score, ...]:
    """V-measure, times 100, of k-means with as many clusters as there are labels (Rosenberg and Hirschberg 2007).

    Args:
        vectors: float32, shape (n, d).
        labels: their labels.
        seed: of the starting points.

    Returns:
        The mean over ten starts.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import v_measure_score

    found = [
        v_measure_score(
            list(labels), KMeans(len(set(labels)), n_init=1, random_state=seed + start).fit_predict(vectors)
        )
        for start in range(_STARTS)
    ]
    return (Score("v-measure", round(100 * float(np.mean(found)), 4), None, None, len(labels)),)
