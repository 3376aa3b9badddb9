"""One training run, from its start or its last checkpoint to its end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.checkpoints import Checkpoints, RunProgress, Snapshot
from langtailor.distillation.data import Data, Passages
from langtailor.distillation.fit import check_fit
from langtailor.distillation.gradients import BatchGradient
from langtailor.distillation.interpolation import best_interpolation
from langtailor.distillation.memory import DEFAULT_TOKENS, CudaMemory, affordable_tokens
from langtailor.distillation.metrics import Metrics
from langtailor.distillation.objective import Objective
from langtailor.distillation.optimizer import load_optimizer_state, make_optimizer, optimizer_state, set_rates
from langtailor.distillation.outcome import not_finite, run_facts, warn_if_unhelpful
from langtailor.distillation.schedule import Phase, phase_at, plan_phases, rate_factor
from langtailor.distillation.step_figures import StepFigures
from langtailor.distillation.stream import Stream
from langtailor.distillation.student import State, Student
from langtailor.distillation.subword_dropout import Pieces, SubwordDropout
from langtailor.distillation.validation import Validation, Validator, main_process_value
from langtailor.distillation.views import View
from langtailor.errors import ConfigError, TrainingError
from langtailor.models.folder import ModelInfo
from langtailor.progress import Progress

_LOG = logging.getLogger("langtailor")
#: Passages, evenly over all, over whose tokens the variance of hidden states is measured.
_MEASURED = 64


class Run:
    """A training run.

    Args:
        accelerator: knows the other processes.
        student: the model.
        data: what it is trained on.
        settings: how.
        seed: of the order of passages and of dropout.
        store: its checkpoints.
        folder: where the live metrics go.
        views: where they are also seen.

    Attributes:
        metrics: the metrics so far.

    Raises:
        ConfigError: the settings do not fit the data or the model.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        student: Student,
        data: Data,
        settings: DistillationSettings,
        seed: int,
        store: Checkpoints,
        folder: Path,
        views: Sequence[View] = (),
    ) -> None:
        check_fit(data, student, settings, accelerator.num_processes)
        self._accelerator, self._student, self._settings = accelerator, student, settings
        self._train, self._store = data.train, store
        self._stream = _stream(data.train, settings, seed)
        if settings.objective.compares_hidden_states:
            rows = np.linspace(0, len(data.train) - 1, _MEASURED).astype(np.int64)
            student.measure_hidden_states(data.train.tokens(rows))
        self._steps = max(1, math.ceil(settings.epochs * self._stream.epoch_length / settings.batch_size))
        self._phases = plan_phases(settings, self._steps, new_rows=bool(student.new_rows.any()))
        self._current: tuple[Phase, torch.optim.AdamW] | None = None
        self._launched: StepFigures | None = None
        self._loss = math.nan
        self._clock = self._saved = time.monotonic()
        self._done = RunProgress(micro_batch_tokens=settings.micro_batch_tokens or DEFAULT_TOKENS)
        self._best: State | None = None
        self._clone = student.state() if settings.shares != (1.0,) else None
        with accelerator.main_process_first():
            snapshot = store.load()
        if snapshot is None and settings.micro_batch_tokens is None:
            self._done = replace(self._done, micro_batch_tokens=self._measured_micro_batch())
        lines = self._resume(snapshot) if snapshot else ()
        self.metrics = Metrics(folder if accelerator.is_main_process else None, lines, views)
        objective = Objective(settings.objective)
        drops = _subword_dropout(data, settings, seed)
        self._gradient = BatchGradient(
            *(accelerator, student, objective, data.train, self._done.micro_batch_tokens, seed),
            subword_dropout=drops.get("train"),
        )
        self._validator = _validator(accelerator, student, objective, data, settings, drops.get("validation"))

    def finish(self) -> dict[str, Any]:
        """Train to the end, leave the kept weights in the student, and return the facts about the run."""
        settings = self._settings
        self._train_to_the_end()
        kept_step = self._done.step if self._best is None else self._done.best_step
        if self._best is not None:
            self._student.load(self._best)
        share, interpolated = 1.0, None
        if self._clone is not None and kept_step != 0:
            share, interpolated = best_interpolation(
                self._student, self._clone, settings.shares, self._validation, settings.keep
            )
        return self._report(kept_step, share, interpolated)

    def _train_to_the_end(self) -> None:
        settings = self._settings
        with Progress("distilling", (self._steps - self._done.step) * settings.batch_size, "passage") as progress:
            if self._done.step == 0:
                self._validate()
            self._student.train(True)
            while self._done.step < self._steps and not self._is_stale():
                self._step()
                if self._done.step % settings.validate_every == 0 or self._done.step == self._steps:
                    self._validate()
                if time.monotonic() - self._saved >= 60 * settings.checkpoint_minutes and self._done.step < self._steps:
                    self._save()
                progress.update(settings.batch_size, f"loss {self._loss:.5f}{self._best_note()}")
            self._record_launched()

    def _report(self, kept_step: int | None, share: float, interpolated: Validation | None) -> dict[str, Any]:
        """Close the metrics, warn if training did not help, and return the facts about the run.

        Args:
            kept_step: steps done when the kept weights were validated.
            share: of the way from the clone to them at which the student's weights are.
            interpolated: validation of the student, if it was interpolated.
        """
        settings = self._settings
        self.metrics.close()
        records = self.metrics.records()
        if self._accelerator.is_main_process:
            warn_if_unhelpful(settings.keep, kept_step, records)
        facts = run_facts(self._steps, self._done.step, kept_step, settings.batch_size, records)
        if interpolated is not None:
            facts["after"] = interpolated.to_json()
        return {**facts, "interpolation": share, "interpolations": list(settings.shares)}

    def _measured_micro_batch(self) -> int:
        """Tokens of a micro-batch for which every process has the memory."""
        device = self._accelerator.device
        if device.type != "cuda":
            return DEFAULT_TOKENS
        tokens = affordable_tokens(self._student, self._train, CudaMemory())
        return int(self._accelerator.gather(torch.tensor([tokens], device=device)).min())

    def _step(self) -> None:
        """Take one step, and read the figures of the previous one while the device computes it."""
        launched = self._launch()
        self._record_launched()
        self._launched = launched
        if launched.ready is None:
            self._record_launched()

    def _launch(self) -> StepFigures:
        """Have the device take one step; nothing here waits for it."""
        step, settings = self._done.step, self._settings
        phase, optimizer = self._enter(step)
        rows = self._stream.take(step * settings.batch_size, settings.batch_size)
        terms = self._gradient(rows, step)
        self._student.densify_gradient(phase.trainable)
        norm = torch.nn.utils.clip_grad_norm_(self._student.model.parameters(), settings.clip_norm)
        rates = set_rates(optimizer, rate_factor(settings, phase, step, self._steps))
        optimizer.step()
        optimizer.zero_grad()
        self._done = replace(self._done, step=step + 1, micro_batch_tokens=self._gradient.budget)
        return StepFigures.launched(step + 1, rows, rates, {**terms, "gradient_norm": norm})

    def _record_launched(self) -> None:
        """Record the step that was launched last; it must be recorded before its weights are used or saved.

        Raises:
            TrainingError: one of its figures is not finite.
        """
        launched, self._launched = self._launched, None
        if launched is None:
            return
        measured = launched.read()
        if not all(map(math.isfinite, measured.values())):
            raise not_finite(launched.step, self._steps, measured, self._train.names(launched.rows))
        now = time.monotonic()
        seconds, self._clock = now - self._clock, now
        tokens = int(self._train.lengths[launched.rows].sum())
        self.metrics.record(
            launched.step,
            {"epoch": self._epoch(launched.step), **measured, "learning_rate": launched.rates},
            {"passages_per_s": len(launched.rows) / seconds, "tokens_per_s": tokens / seconds},
        )
        self._loss = measured["loss"]

    def _enter(self, step: int) -> tuple[Phase, torch.optim.AdamW]:
        """The phase of a step and its optimiser; every phase starts with new moments."""
        phase = phase_at(self._phases, step)
        if self._current is None or self._current[0] != phase:
            self._student.unfreeze(phase.trainable)
            # A distributed wrapper is bound to the trainable parameters; the last phase's has to go first.
            self._student.wrap(self._student.model)
            self._accelerator.free_memory()
            self._student.wrap(self._accelerator.prepare_model(self._student.model))
            self._current = phase, make_optimizer(self._student, self._settings)
            _LOG.info("from step %s on: training %s", f"{phase.start:,}", phase.trainable)
        return self._current

    def _validation(self) -> Validation | None:
        """Metrics of the student as it is, where there is a validation split."""
        return self._validator(self._gradient.budget) if self._validator else None

    def _validate(self) -> None:
        """Validate, and keep the weights if they are the best so far."""
        if self._validator is None:
            return
        self._record_launched()
        _LOG.info("validating after step %s", f"{self._done.step:,}")
        validation = self._validator(self._gradient.budget)
        if not math.isfinite(validation.overall.loss):
            raise TrainingError(
                f"after step {self._done.step} of {self._steps} the validation loss is {validation.overall.loss}: lower "
                "learning_rate or use precision float32"
            )
        self.metrics.record(
            self._done.step, {"epoch": self._epoch(self._done.step), "validation": validation.to_json()}
        )
        self._clock = time.monotonic()
        if self._settings.keep == "last":
            return
        value = self._cost(validation)
        if self._done.best_value is None or value < self._done.best_value:
            self._done = replace(self._done, best_step=self._done.step, best_value=value, stale=0)
            self._best = self._student.state()
        else:
            self._done = replace(self._done, stale=self._done.stale + 1)

    def _cost(self, validation: Validation) -> float:
        """What ``keep`` chooses weights by."""
        return main_process_value(validation.cost(self._settings.keep))

    def _is_stale(self) -> bool:
        return self._settings.patience is not None and self._done.stale >= self._settings.patience

    def _save(self) -> None:
        self._record_launched()
        if self._accelerator.is_main_process:
            assert self._current is not None
            best = None if self._done.best_step == self._done.step else self._best
            state = optimizer_state(self._current[1], self._student)
            self._store.save(Snapshot(self._done, self._student.state(), state, best, [*self.metrics.lines]))
        self._clock = self._saved = time.monotonic()

    def _resume(self, snapshot: Snapshot) -> list[str]:
        """Restore the state of a checkpoint; returns its metrics."""
        self._done = snapshot.progress
        self._student.load(snapshot.model)
        best = snapshot.model if self._done.best_step == self._done.step else snapshot.best
        self._best = None if best is None else dict(best)
        phase, optimizer = self._enter(self._done.step)
        if self._done.step > phase.start:
            load_optimizer_state(optimizer, self._student, snapshot.optimizer)
        _LOG.info("resuming from the checkpoint of step %s of %s", f"{self._done.step:,}", f"{self._steps:,}")
        return snapshot.metrics

    def _epoch(self, step: int) -> float:
        return round(step * self._settings.batch_size / self._stream.epoch_length, 4)

    def _best_note(self) -> str:
        if self._done.best_value is None:
            return ""
        return f", best {self._settings.keep} {abs(self._done.best_value):.5f} at step {self._done.best_step:,}"


def _validator(
    accelerator: Accelerator,
    student: Student,
    objective: Objective,
    data: Data,
    settings: DistillationSettings,
    subword_dropout: SubwordDropout | None,
) -> Validator | None:
    if not len(data.validation):
        return None
    return Validator(
        *(accelerator, student, objective, data.validation, settings.batch_size, settings.validation_passages),
        sts_dev_set=data.sts_dev_set,
        subword_dropout=subword_dropout,
    )


def _subword_dropout(data: Data, settings: DistillationSettings, seed: int) -> dict[str, SubwordDropout]:
    """What drops tokens of each split; nothing where none are to be dropped."""
    if not settings.subword_dropout:
        return {}
    pieces = Pieces.read(data.clone)
    limit = min(filter(None, (ModelInfo.read(data.clone).max_length, settings.max_length)))
    splits = {"train": data.train, "validation": data.validation}
    return {
        split: SubwordDropout(passages, pieces, settings.subword_dropout, seed, limit)
        for split, passages in splits.items()
    }


def _stream(train: Passages, settings: DistillationSettings, seed: int) -> Stream:
    sizes = [rows.stop - rows.start for rows in train.languages.values()]
    weights = [settings.language_weights.get(lang, 1.0) for lang in train.languages]
    stream = Stream(sizes, weights, seed)
    if not stream.epoch_length:
        raise ConfigError(
            f"{settings.section}.language_weights", f"found {settings.language_weights}: no passage is left to train on"
        )
    return stream
