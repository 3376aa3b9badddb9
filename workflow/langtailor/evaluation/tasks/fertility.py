"""Fertility of a tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import ClassVar, Literal

from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Score
from langtailor.evaluation.task import EvaluationTask, Inputs, TaskResult
from langtailor.models.tokenizer_file import open_tokenizer

_LOG = logging.getLogger("langtailor")


@task_kind
class FertilityTask(EvaluationTask):
    """Tokens per word and characters per token of each model's tokenizer, per language, on the test split."""

    less_is_better = ("tokens per word",)

    of_vectors: ClassVar[bool] = False
    kind: Literal["fertility"]

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        return TaskNeeds(tuple(languages))

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        tokenizer, scores = open_tokenizer(evaluator.folder), []
        for lang, table in inputs.test_split():
            texts = table["text"].to_pylist()
            if not texts:
                _LOG.warning("%s: no test passages; fertility leaves it out", lang)
                continue
            tokens = sum(len(e.ids) for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
            words = sum(len(text.split()) for text in texts)
            characters = sum(len(text) for text in texts)
            scores += [
                Score("tokens per word", round(tokens / words, 4), None, None, len(texts), lang),
                Score("characters per token", round(characters / tokens, 4), None, None, len(texts), lang),
            ]
        return TaskResult(tuple(scores))
