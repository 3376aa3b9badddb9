"""Classification of frozen vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from langtailor.config.base import UserPath
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.errors import SourceError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.labelled import LabelledTask
from langtailor.evaluation.scores import Score, mean_score
from langtailor.evaluation.task import Inputs, TaskResult

_LOG = logging.getLogger("langtailor")
_GROUP = "all texts"
_ITERATIONS = 1_000


@task_kind
class ClassificationTask(LabelledTask):
    """Predicting a text's class by logistic regression on frozen vectors: accuracy."""

    kind: Literal["classification"]
    train: UserPath
    """A CSV, TSV, JSON Lines or Parquet file."""
    test: UserPath
    """A file of the same form."""

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        return TaskNeeds(files=(self.train, self.test))

    def texts_only(self) -> Self:
        # What is trained on is no text of the evaluation, but a task of this kind names some.
        return self.only("test", "text", "label", train=self.test)

    def texts(self) -> Iterable[str]:
        return self.read(self.test)[0]

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        (train, train_labels), (test, test_labels) = (self.read(path) for path in (self.train, self.test))
        self._check_labels(train_labels, test_labels)
        train_vectors, test_vectors = (
            self.encode(evaluator, texts, f"encoding {part}") for part, texts in (("train", train), ("test", test))
        )
        return TaskResult(
            *classification_scores(
                train_vectors, train_labels, test_vectors, test_labels, evaluator.resamples, evaluator.seed
            )
        )

    def _check_labels(self, train: Sequence[str], test: Sequence[str]) -> None:
        """Refuse test labels that training cannot teach: that all are new means that the files write them in other ways.

        Raises:
            SourceError: no label of the test file is in the training file.
        """
        new = sorted(set(test) - set(train))
        if not new:
            return
        if len(new) == len(set(test)):
            raise SourceError(
                f"{self.test}: none of its labels, such as {new[0]!r}, is in {self.train}, which has {train[0]!r}; write the "
                "labels of both files in the same way"
            )
        _LOG.warning(
            "%s: %d of %d labels, such as %r, are not in %s; their %d texts cannot be classified",
            *(self.test, len(new), len(set(test)), new[0], self.train, sum(label in new for label in test)),
        )


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
    predicted = model.predict(test)
    hits = np.where(predicted == np.asarray(test_labels), 100.0, 0.0)
    macro = 100 * float(f1_score(list(test_labels), predicted, average="macro"))
    scores = (
        mean_score("accuracy", hits, resamples, seed, group=_GROUP),
        Score("macro F1", round(macro, 4), None, None, len(hits)),
    )
    return scores, {_GROUP: tuple(hits.tolist())}
