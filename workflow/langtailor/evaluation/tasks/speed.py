"""How fast a model encodes. The clock depends on the machine and on what else runs there: compare within one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.evaluation.encoding import BATCH_TOKENS
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Score
from langtailor.evaluation.task import EvaluationTask, Inputs, TaskResult

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_REPETITIONS = 3


@task_kind
class SpeedTask(EvaluationTask):
    """Passages and tokens encoded per second: the median of three repetitions over test passages of all languages."""

    of_vectors: ClassVar[bool] = False
    kind: Literal["speed"]
    passages: Annotated[int, Field(ge=1)] = 512
    """Number of passages, drawn equally from all languages."""

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        return TaskNeeds(tuple(languages), alone=True)

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        share = -(-self.passages // len(inputs.corpora))
        texts = [text for _, table in inputs.test_split() for text in table["text"].to_pylist()[:share]]
        return TaskResult(speed_scores(evaluator.model, evaluator.prompt, texts) if texts else ())


def speed_scores(model: SentenceTransformer, prompt: str, texts: Sequence[str]) -> tuple[Score, ...]:
    """Passages and tokens a second: the median of three repetitions after one that warms up.

    Args:
        model: any sentence-transformers model.
        prompt: put before each text.
        texts: the passages.
    """
    from langtailor.models.encoder import Encoder

    encoder = Encoder(model, prompt, BATCH_TOKENS)
    encoder.encode(texts, "warming up")
    tokens = encoder.tokens
    seconds = []
    for number in range(1, _REPETITIONS + 1):
        started = time.perf_counter()
        encoder.encode(texts, f"repetition {number} of {_REPETITIONS}")
        seconds.append(time.perf_counter() - started)
    typical = median(seconds)
    return (
        Score("passages per second", round(len(texts) / typical, 2), None, None, len(texts)),
        Score("tokens per second", round(tokens / typical, 2), None, None, len(texts)),
    )
