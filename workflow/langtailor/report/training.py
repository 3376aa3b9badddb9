"""Section of the page: the training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from langtailor.distillation.outcome import is_untrained
from langtailor.report import plots
from langtailor.report.formats import percent
from langtailor.report.plots import Plot
from langtailor.storage.artifacts import read_manifest

Record = Mapping[str, Any]
#: More lines than this cannot be told apart.
_MOST_CURVES = 8


@dataclass(frozen=True)
class TrainingPart:
    """What the page says of one variant's training: a sentence if it did not help, and its curves."""

    note: str
    plots: Sequence[Plot]


def read_training(model: Path) -> TrainingPart:
    """Gather the section of one variant.

    Args:
        model: the distilled model.

    Raises:
        ArtifactError: the model is damaged.
    """
    facts = read_manifest(model, "distilled", verify=False).facts
    return TrainingPart(training_note(facts), training_plots(read_records(model / "training.jsonl"), facts))


def read_records(log: Path) -> list[Record]:
    """The records of a ``training.jsonl``."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def training_note(facts: Mapping[str, Any]) -> str:
    """A sentence for a training that did not help; empty for one that did.

    Args:
        facts: of the trained model's manifest.
    """
    if not is_untrained(facts):
        return ""
    return "Training did not help: no validation was better than the untrained clone's, so the student is the untrained clone."


def training_plots(records: Sequence[Record], facts: Mapping[str, Any]) -> list[Plot]:
    """Loss, cosines by language and, where it was measured, the correlation on the STS dev set.

    Args:
        records: of the run's ``training.jsonl``.
        facts: of the trained model's manifest.
    """
    steps = [record for record in records if "validation" not in record]
    validations = [record for record in records if "validation" in record]
    loss = {
        "train": _curve(steps, "loss"),
        "validation": _curve(validations, "validation", "loss"),
    }
    drawn = [Plot(plots.curves(loss, "step", "loss"), f"Loss. {_what_was_kept(facts)}.")]
    if cosines := _cosine_curves(validations):
        caption = "Mean cosine to the teacher on the validation split."
        drawn.append(Plot(plots.curves(cosines, "step", "cosine"), caption))
    if validations and "sts" in validations[0]["validation"]:
        sts = {"validation": _curve(validations, "validation", "sts")}
        caption = "Spearman's correlation on the STS dev set."
        drawn.append(Plot(plots.curves(sts, "step", "Spearman"), caption))
    return drawn


def _what_was_kept(facts: Mapping[str, Any]) -> str:
    """Which weights became the student."""
    kept = (
        f"{facts['steps']:,} of {facts['planned_steps']:,} steps; the weights of step {facts['kept_step']:,} were kept"
    )
    share, shares = facts.get("interpolation", 1), facts.get("interpolations", [])
    if share < 1 or len(shares) > 1:
        kept += f", and the student is {percent(share)} of the way from the model before to them"
    if len(shares) > 1:
        kept += f", the best of {', '.join(map(percent, shares))} on the validation split"
    return kept


def _cosine_curves(validations: Sequence[Record]) -> dict[str, plots.Curve]:
    """A curve a language, and of many languages the lowest, the median and the highest at each validation."""
    languages = sorted(validations[0]["validation"]["languages"]) if validations else []
    curves = {lang: _curve(validations, "validation", "languages", lang, "cosine") for lang in languages}
    if len(curves) <= _MOST_CURVES:
        return curves
    steps, values = next(iter(curves.values()))[0], np.array([values for _, values in curves.values()])
    kept = {"lowest": values.min(axis=0), "median": np.median(values, axis=0), "highest": values.max(axis=0)}
    return {f"{name} of {len(curves)} languages": (steps, figures.tolist()) for name, figures in kept.items()}


def _curve(records: Sequence[Record], *keys: str) -> plots.Curve:
    """Steps, and the value below these keys of each record."""
    return [record["step"] for record in records], [_value(record, keys) for record in records]


def _value(record: Any, keys: Sequence[str]) -> float:
    for key in keys:
        record = record[key]
    return float(record)
