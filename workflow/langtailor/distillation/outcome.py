"""What a run reports: its facts, a warning where training did not help, an error where a figure is not finite."""

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


def is_untrained(facts: Mapping[str, Any]) -> bool:
    """Whether the kept weights are those before training, given the facts about a run."""
    return facts.get("kept_step") == 0


def warn_if_unhelpful(keep: str, kept_step: int | None, records: Sequence[Mapping[str, Any]]) -> None:
    """Log a warning where no validation is better than that before training.

    Args:
        keep: the setting; validations are compared by ``loss``, ``cosine`` or ``sts``, by ``loss`` for ``last``.
        kept_step: steps done when the kept weights were validated.
        records: the metrics of the run.
    """
    metric = "loss" if keep == "last" else keep
    values = {record["step"]: record["validation"][metric] for record in records if "validation" in record}
    untrained = values.pop(0, None)
    if untrained is None or not values:
        return
    better = min if metric == "loss" else max
    best_step = better(values, key=values.__getitem__)
    if better(untrained, values[best_step]) != untrained:
        return
    result = "the student is the model before it" if kept_step == 0 else "the student is trained, as keep is last"
    _LOG.warning(
        "training did not help: the validation %s before it is %.5f, the best after it %.5f (step %s); "
        "%s. Lower learning_rate and embedding_learning_rate, raise warmup or epochs, or do without this training",
        metric,
        untrained,
        values[best_step],
        f"{best_step:,}",
        result,
    )


def not_finite(step: int, steps: int, measured: Mapping[str, float], passages: Sequence[str]) -> TrainingError:
    """The error of a step whose loss or gradient is not finite; the log names all passages of its batch."""
    _LOG.error("the batch of step %s: %s", f"{step:,}", ", ".join(passages))
    more = f" and {len(passages) - _NAMED} more" if len(passages) > _NAMED else ""
    figures = ", ".join(f"{name} {value}" for name, value in measured.items())
    return TrainingError(
        f"step {step} of {steps}: {figures} is not finite. The batch's passages: {', '.join(passages[:_NAMED])}{more}. "
        "Lower learning_rate, or use precision float32, and check these passages"
    )
