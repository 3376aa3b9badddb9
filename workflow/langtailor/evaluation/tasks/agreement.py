"""Agreement with the teacher."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np

from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import ALL_LANGUAGES, mean_score
from langtailor.evaluation.task import EvaluationTask, Inputs, TaskResult, rounded
from langtailor.models.similarity import COSINE, unit
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")


@task_kind
class AgreementTask(EvaluationTask):
    """Cosine of each model's vectors to the teacher's stored ones, per language, on the test split."""

    kind: Literal["agreement"]

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        return TaskNeeds(tuple(languages), vectors=True)

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        cosines = {}
        for lang, table in inputs.test_split():
            texts = table["text"].to_pylist()
            if not texts:
                _LOG.warning("%s: no test passages; agreement leaves it out", lang)
                continue
            store = VectorStore.open(list(inputs.vectors[lang]), "test")
            vectors = stored = unit(store.take(np.arange(len(texts))))
            # The teacher's own vectors are at hand, but for texts of which it has read the aligned one.
            rows = np.flatnonzero(~(store.holds(texts, evaluator.prompt) & store.made_by(evaluator.digest)))
            if len(rows):
                vectors = stored.copy()
                vectors[rows] = evaluator.vectors([texts[row] for row in rows], f"encoding {lang}", similarity=COSINE)
            cosines[lang] = COSINE.pairs(vectors, stored)
        if not cosines:
            return TaskResult(())
        groups = {ALL_LANGUAGES: np.concatenate(list(cosines.values())), **cosines}
        scores = [
            mean_score("cosine", values, evaluator.resamples, evaluator.seed, group=group)
            for group, values in groups.items()
        ]
        return TaskResult(tuple(scores), {group: rounded(values) for group, values in groups.items()})
