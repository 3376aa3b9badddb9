"""What a run reports: the facts about it, and the error that ends one whose figures are not finite."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from langtailor.errors import TrainingError

_LOG = logging.getLogger("langtailor")
#: Passage ids that an error message names.
_NAMED = 16


def run_facts(
    planned_steps: int, steps: int, kept_step: int | None, batch_size: int, records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The facts about a finished run, as the manifest of its model gives them.

    Args:
        planned_steps: steps of the whole run.
        steps: steps done.
        kept_step: steps done when the kept weights were validated.
        batch_size: passages in a step.
        records: the metrics of the run.
    """
    validations = {record["step"]: record["validation"] for record in records if "validation" in record}
    return {
        "planned_steps": planned_steps,
        "steps": steps,
        "kept_step": kept_step,
        "passages": steps * batch_size,
        "before": validations.get(0),
        "after": validations.get(kept_step),
    }


def not_finite(step: int, steps: int, measured: Mapping[str, float], passages: Sequence[str]) -> TrainingError:
    """The error of a step whose loss or gradient is not finite; the log names all passages of its batch."""
    _LOG.error("the batch of step %s: %s", f"{step:,}", ", ".join(passages))
    more = f" and {len(passages) - _NAMED} more" if len(passages) > _NAMED else ""
    figures = ", ".join(f"{name} {value}" for name, value in measured.items())
    return TrainingError(
        f"step {step} of {steps}: {figures} is not finite. The batch's passages: {', '.join(passages[:_NAMED])}{more}. "
        "Lower distillation.learning_rate, or take precision float32, and look at these passages"
    )
