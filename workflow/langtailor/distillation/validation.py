"""Validation: how the student does on held-out passages during training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.nn import functional

from langtailor.distillation.data import Passages
from langtailor.distillation.objective import Objective
from langtailor.distillation.sts_pairs import StsDevSet
from langtailor.distillation.student import Student
from langtailor.distillation.subword_dropout import SubwordDropout
from langtailor.distillation.targets import targets_of
from langtailor.distillation.tokens import Ids
from langtailor.errors import TrainingError
from langtailor.models.cpu_workers import each_core
from langtailor.models.length_batches import Rows, cheapest_batches, longest_first
from langtailor.objectives.term import Targets

_LOG = logging.getLogger("langtailor")

#: Gives a row of figures, float32, for the token ids of each text.
Model = Callable[[list[Ids]], Tensor]
#: Most tokens of a micro-batch on a CPU: more gain nothing, and its cores share the micro-batches.
_CPU_MICRO_BATCH_TOKENS = 4_096


@dataclass(frozen=True)
class SplitMetrics:
    """Metrics of a student on held-out passages, of one language or of all.

    Attributes:
        loss: mean of the training objective; a batch holds passages of one language.
        cosine: mean cosine to the teacher's vectors.
        passages: their number.
    """

    loss: float
    cosine: float
    passages: int


@dataclass(frozen=True)
class Validation:
    """Metrics of the validation split.

    Attributes:
        overall: mean over all passages.
        languages: by language.
        sts: Spearman's correlation, times 100, on the STS dev set, where there is one.
    """

    overall: SplitMetrics
    languages: Mapping[str, SplitMetrics]
    sts: float | None = None

    def cost(self, keep: str) -> float:
        """What the setting ``keep`` chooses weights by (``loss``, ``cosine`` or ``sts``); lower is better."""
        costs = {"loss": self.overall.loss, "cosine": -self.overall.cosine, "sts": -(self.sts or 0.0)}
        return costs[keep]

    def to_json(self) -> dict[str, Any]:
        """Plain data for the metrics file."""
        languages = {lang: asdict(metrics) for lang, metrics in self.languages.items()}
        sts = {} if self.sts is None else {"sts": self.sts}
        return {**asdict(self.overall), **sts, "languages": languages}


def main_process_value(value: float) -> float:
    """The main process's value, so that all processes decide alike."""
    return float(broadcast_object_list([value])[0])


class Validator:
    """Measures the student on the validation split.

    Args:
        accelerator: knows the other processes, which share the passages.
        student: the model.
        objective: the training objective.
        passages: the validation split; not empty.
        batch_size: passages in a batch of the objective.
        most: passages of each language, the first ones; ``None`` for all.
        sts_dev_set: sentence pairs to score as well.
        subword_dropout: drops tokens of the passages, by one draw for all validations.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        student: Student,
        objective: Objective,
        passages: Passages,
        batch_size: int,
        most: int | None = None,
        sts_dev_set: StsDevSet | None = None,
        subword_dropout: SubwordDropout | None = None,
    ) -> None:
        self._accelerator, self._student, self._objective = accelerator, student, objective
        self._passages, self._batch_size, self._sts_dev_set = passages, batch_size, sts_dev_set
        self._subword_dropout = subword_dropout
        self._languages, self._rows = _first_of_each(passages.languages, most)
        self._targets = targets_of(passages, self._rows, accelerator.device)

    def __call__(self, budget: int) -> Validation:
        """Measure the student as it is, in micro-batches of at most ``budget`` tokens."""
        self._student.train(False)
        lengths = self._passages.lengths[self._rows]
        outputs = self._outputs(self._student.outputs, lambda rows: self._tokens(self._rows[rows]), lengths, budget)
        sts = None
        if (pairs := self._sts_dev_set) is not None:
            sts = pairs.spearman(self._outputs(self._student, pairs.take, pairs.lengths, budget))
        self._student.train(True)
        metrics = measure(outputs, self._targets, self._languages, self._objective, self._batch_size)
        return replace(metrics, sts=sts)

    def _tokens(self, rows: Rows) -> list[Ids]:
        ids = self._passages.tokens(rows)
        return self._subword_dropout(ids, rows, 0) if self._subword_dropout else ids

    def _outputs(self, model: Model, tokens: Callable[[Rows], list[Ids]], lengths: Ids, budget: int) -> Tensor:
        """What a model gives for texts, a row each; float32, shape (n, d).

        Args:
            model: the model.
            tokens: gives the token ids of some of the texts.
            lengths: tokens of each text.
            budget: most tokens of a micro-batch.
        """
        rank, world = self._accelerator.process_index, self._accelerator.num_processes
        order = longest_first(lengths)
        # All processes give equally many vectors; the last text is repeated as padding.
        order = np.concatenate([order, np.repeat(order[-1:], -len(order) % world)])
        local = order[rank::world]
        device = self._accelerator.device.type
        with each_core(device == "cpu" and world == 1) as run:
            most = min(budget, _CPU_MICRO_BATCH_TOKENS) if device == "cpu" else budget
            micro_batches = cheapest_batches(lengths[local], most, device)
            parts = list(run(lambda part: _in_halves(model, tokens(local[part])), micro_batches))
        gathered: Tensor = self._accelerator.gather(torch.cat(parts))
        outputs = torch.empty_like(gathered)
        outputs[np.concatenate([order[other::world] for other in range(world)])] = gathered
        return outputs[: len(lengths)]


@torch.no_grad()  # of this thread, which may be one of many
def _in_halves(model: Model, ids: list[Ids]) -> Tensor:
    """What a model gives for some texts; in halves where the device has too little memory for all."""
    try:
        return model(ids)
    except torch.OutOfMemoryError as error:
        if len(ids) == 1:
            raise TrainingError(
                f"out of memory with one passage of {len(ids[0]):,} tokens: lower max_length"
            ) from error
    _LOG.warning("out of memory: validating %d passages in halves", len(ids))
    torch.cuda.empty_cache()
    half = len(ids) // 2
    return torch.cat([_in_halves(model, part) for part in (ids[:half], ids[half:])])


def _first_of_each(languages: Mapping[str, slice], most: int | None) -> tuple[dict[str, slice], Rows]:
    """The first rows of each language: each language's slice of them, and the rows."""
    slices, rows, start = {}, [], 0
    for lang, part in languages.items():
        first = np.arange(part.start, part.stop)[:most]
        slices[lang] = slice(start, start + len(first))
        rows.append(first)
        start += len(first)
    return slices, np.concatenate(rows)


@torch.no_grad()
def measure(
    outputs: Tensor,
    targets: Targets,
    languages: Mapping[str, slice],
    objective: Objective,
    batch_size: int,
) -> Validation:
    """Compare vectors of the validation split.

    Args:
        outputs: the student's vectors, float32, shape (n, d); or with the errors of its hidden states, shape (n, d + 1).
        targets: what they are compared with.
        languages: each language's rows; together all rows, none empty.
        objective: the training objective; a language's last, smaller batch is weighted by its size.
        batch_size: passages in a batch of the objective.
    """
    metrics = {
        lang: _split_metrics(outputs[rows], targets[rows], objective, batch_size) for lang, rows in languages.items()
    }
    return Validation(_mean(list(metrics.values())), metrics)


def _split_metrics(outputs: Tensor, targets: Targets, objective: Objective, batch_size: int) -> SplitMetrics:
    batches = [slice(start, start + batch_size) for start in range(0, len(outputs), batch_size)]
    losses = [float(objective(outputs[rows], targets[rows])["loss"]) * len(outputs[rows]) for rows in batches]
    vectors = outputs[:, : targets.teacher.shape[1]]
    cosine = float(functional.cosine_similarity(vectors, targets.teacher).mean())
    return SplitMetrics(sum(losses) / len(outputs), cosine, len(outputs))


def _mean(parts: list[SplitMetrics]) -> SplitMetrics:
    sizes = [part.passages for part in parts]
    loss = float(np.average([part.loss for part in parts], weights=sizes))
    cosine = float(np.average([part.cosine for part in parts], weights=sizes))
    return SplitMetrics(loss, cosine, sum(sizes))
