"""Phases of freezing, and the learning rate.

Everything here is a function of the step alone, so that a resumed run needs no state of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from langtailor.config.distillation import DistillationSettings

#: What a phase trains: the embedding rows that the teacher does not have, all embedding rows, or the whole model.
Trainable = Literal["new rows", "embeddings", "everything"]


@dataclass(frozen=True)
class Phase:
    """Steps ``start`` to ``end`` (exclusive), counted from 0, in which ``trainable`` is trained."""

    trainable: Trainable
    start: int
    end: int


def plan_phases(settings: DistillationSettings, steps: int, *, new_rows: bool = True) -> tuple[Phase, ...]:
    """The phases that have steps, in order; together they cover all of them.

    Args:
        settings: shares of the first two phases.
        steps: number of optimiser steps of the run.
        new_rows: whether the model has new rows; without, the first phase's steps train all embeddings.
    """
    first = round(steps * settings.new_rows_only) if new_rows else 0
    second = round(steps * (settings.new_rows_only + settings.embeddings_only))
    plan = (Phase("new rows", 0, first), Phase("embeddings", first, second), Phase("everything", second, steps))
    return tuple(phase for phase in plan if phase.end > phase.start)


def phase_at(phases: Sequence[Phase], step: int) -> Phase:
    """The phase of a step."""
    return next(phase for phase in phases if phase.start <= step < phase.end)


def rate_factor(settings: DistillationSettings, phase: Phase, step: int, steps: int) -> float:
    """Share of the peak learning rate at a step (counted from 0).

    The rate rises linearly over ``warmup`` x ``steps`` steps at the start of each phase: what becomes trainable there has
    no moments in the optimiser yet. It decays over all steps after the first warm-up; the last step still has a rate.
    """
    warmup = _warmup_steps(settings, steps)
    rise = min(1.0, (step - phase.start + 1) / warmup) if warmup else 1.0
    decayed = max(0, step - warmup) / max(1, steps - warmup)
    match settings.decay:
        case "linear":
            return min(rise, 1 - decayed)
        case "cosine":
            return min(rise, (1 + math.cos(math.pi * decayed)) / 2)
        case "constant":
            return rise


def _warmup_steps(settings: DistillationSettings, steps: int) -> int:
    """Steps of a warm-up; at least two where there is one, so that the first has half of the peak rate at most.

    Adam's first step moves every parameter by the learning rate, whatever the size of its gradient.
    """
    return max(2, round(steps * settings.warmup)) if settings.warmup else 0
