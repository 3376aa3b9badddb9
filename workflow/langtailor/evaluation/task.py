"""What an evaluation task is: its settings, what it reads, and the scores that it gives a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from langtailor.config.evaluation import Task
from langtailor.corpus.reading import read_corpus
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.neighbourhood import Neighbourhood
from langtailor.evaluation.scores import Floats, Score
from langtailor.evaluation.text_vectors import TextVectors
from langtailor.models.similarity import Similarity
from langtailor.storage.digests import sha256_file


@dataclass(frozen=True)
class Inputs:
    """What the workflow hands to tasks, as their needs say.

    Attributes:
        corpora: corpus by language.
        vectors: shards of the teacher's stored vectors by language.
        teacher: by task, the teacher's vectors of the task's own texts, for those that ask for them; ``None`` where it
            is the teacher that is evaluated.
    """

    corpora: Mapping[str, Path] = field(default_factory=dict)
    vectors: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    teacher: Mapping[str, Path] | None = None

    def of(self, name: str, task: Task) -> Inputs:
        """What the task of this name reads of them."""
        needs = task.needs(list(self.corpora))
        corpora = {lang: self.corpora[lang] for lang in needs.languages}
        vectors = {lang: self.vectors[lang] for lang in needs.languages if needs.vectors}
        asking = [name] if needs.teacher else []
        teacher = None if self.teacher is None else {each: self.teacher[each] for each in asking}
        return Inputs(corpora, vectors, teacher)

    def digests(self) -> dict[str, list[str]]:
        """SHA-256 of every file, by language or task."""
        corpora = {lang: [corpus, *self.vectors.get(lang, ())] for lang, corpus in self.corpora.items()}
        teacher = {f"teacher's {name}": [file] for name, file in (self.teacher or {}).items()}
        return {name: list(map(sha256_file, files)) for name, files in (corpora | teacher).items()}

    def test_split(self) -> Iterator[tuple[str, pa.Table]]:
        """The test split of each language, with the columns ``text`` and ``pair``."""
        for lang, corpus in self.corpora.items():
            yield lang, read_corpus(corpus, "test", columns=["text", "pair"])


@dataclass(frozen=True)
class TaskResult:
    """Scores of one model; see :class:`~langtailor.evaluation.scores.Evaluation`.

    Attributes:
        scores: the figures, the main one first; none where there is nothing to evaluate on.
        items: figures per item by group.
        gold: what the items are correlated with.
        neighbourhood: passages as the teacher and the model place them, of tasks that have both models' vectors.
        vectors: of the teacher, its vectors of the task's own texts, where the task asks for them.
    """

    scores: tuple[Score, ...]
    items: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    gold: tuple[float, ...] = ()
    neighbourhood: Neighbourhood | None = None
    vectors: TextVectors | None = None


class EvaluationTask(Task):
    """A task that can be run. Each kind is a module of :mod:`langtailor.evaluation.tasks`.

    Attributes:
        of_vectors: whether its figures depend on vectors of texts alone, so that any program that gives them can be judged.
    """

    of_vectors: ClassVar[bool] = True

    @abstractmethod
    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        """Evaluate a model.

        Args:
            evaluator: the model.
            inputs: what the task needs.

        Raises:
            SourceError: a file cannot be used.
            ConfigError: a setting does not fit the model.
        """

    def texts(self) -> Iterable[str]:
        """The task's own texts, which a training on queries and documents leaves out; see :meth:`texts_only`.

        Raises:
            SourceError: a file cannot be used.
        """
        return ()


class VectorTask(EvaluationTask):
    """A task on vectors of texts."""

    truncate_dim: Annotated[int, Field(ge=1)] | None = None
    """Compare only this many of the vectors' first components, as users of a Matryoshka model do; `null` compares
    all."""

    def encode(
        self,
        evaluator: Evaluator,
        texts: Sequence[str],
        label: str,
        prompt: str | None = None,
        similarity: Similarity | None = None,
    ) -> NDArray[np.float32]:
        """Vectors of texts, truncated as the task says; see :meth:`Evaluator.vectors`."""
        return evaluator.vectors(texts, label, prompt, self.truncate_dim, similarity)


def rounded(values: Floats) -> tuple[float, ...]:
    """Figures per item as a result holds them."""
    return tuple(np.round(values, 6).tolist())
