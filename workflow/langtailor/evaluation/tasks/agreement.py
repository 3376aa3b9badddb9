"""Agreement with the teacher."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from langtailor.config.corpus import ALL_LANGUAGES
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.neighbourhood import NEIGHBOURS, Neighbourhood, neighbours_kept
from langtailor.evaluation.scores import Floats, mean_score
from langtailor.evaluation.task import EvaluationTask, Inputs, TaskResult, rounded
from langtailor.models.similarity import COSINE, unit
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")
#: Passages of all languages together whose neighbours are compared. They come in the order of a hash, so that the first of
#: each language are a sample.
_COMPARED = 600


@dataclass(frozen=True)
class _Passages:
    """Test passages of a language, and the vectors of the teacher and the model; float32, shape (n, d), unit rows."""

    texts: Sequence[str]
    teacher: NDArray[np.float32]
    model: NDArray[np.float32]

    def cosines(self) -> Floats:
        return COSINE.pairs(self.model, self.teacher)

    def first(self, count: int) -> _Passages:
        return _Passages(self.texts[:count], self.teacher[:count], self.model[:count])


@task_kind
class AgreementTask(EvaluationTask):
    """Cosine of each model's vectors of the test split to the teacher's stored ones, per language; shared neighbours."""

    kind: Literal["agreement"]

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        return TaskNeeds(tuple(languages), vectors=True)

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        languages = {}
        for lang, table in inputs.test_split():
            texts = table["text"].to_pylist()
            if texts:
                store = VectorStore.open(list(inputs.vectors[lang]), "test")
                languages[lang] = _read(evaluator, store, texts, lang)
            else:
                _LOG.warning("%s: no test passages; agreement leaves it out", lang)
        if not languages:
            return TaskResult(())
        figures = {lang: passages.cosines() for lang, passages in languages.items()}
        figures = {ALL_LANGUAGES: np.concatenate(list(figures.values())), **figures}
        metrics = dict.fromkeys(figures, "cosine")
        neighbourhood = None
        texts, teacher, model = _sample(languages)
        if len(texts) > 1:
            neighbourhood = Neighbourhood.of(texts, teacher, model)
            figures[NEIGHBOURS], metrics[NEIGHBOURS] = neighbours_kept(teacher, model), "nearest kept"
        scores = [
            mean_score(metrics[group], values, evaluator.resamples, evaluator.seed, group=group)
            for group, values in figures.items()
        ]
        items = {group: rounded(values) for group, values in figures.items()}
        return TaskResult(tuple(scores), items, neighbourhood=neighbourhood)


def _read(evaluator: Evaluator, store: VectorStore, texts: list[str], lang: str) -> _Passages:
    """Texts with the stored vectors and the model's; the teacher's are the same, but where it has read the aligned text."""
    model = stored = unit(store.take(np.arange(len(texts))))
    prompt = evaluator.language_prompt(lang)
    rows = np.flatnonzero(~(store.holds(texts, prompt) & store.made_by(evaluator.digest)))
    if len(rows):
        model, unread = stored.copy(), [texts[row] for row in rows]
        model[rows] = evaluator.vectors(unread, f"encoding {lang}", prompt, similarity=COSINE)
    return _Passages(texts, stored, model)


def _sample(
    languages: Mapping[str, _Passages],
) -> tuple[list[tuple[str, str]], NDArray[np.float32], NDArray[np.float32]]:
    """Passages of all languages alike, each with its language, and their vectors of the teacher and the model."""
    parts = {lang: passages.first(_COMPARED // len(languages) or 1) for lang, passages in languages.items()}
    texts = [(lang, text) for lang, part in parts.items() for text in part.texts]
    teacher = np.concatenate([part.teacher for part in parts.values()])
    return texts, teacher, np.concatenate([part.model for part in parts.values()])
