"""Section of the page: the training for retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langtailor.distillation.outcome import is_untrained
from langtailor.report.formats import dropped_texts
from langtailor.report.plots import Plot
from langtailor.report.training import read_records, training_plots
from langtailor.storage.artifacts import read_manifest
from langtailor.storage.tables import CORPUS, read_table_manifest

_UNHELPFUL = (
    "It did not help: no validation was better than before, so the student is the model from before this training."
)


@dataclass(frozen=True)
class SideRow:
    """Queries or documents of one language: how many are trained and validated on, and how many were dropped, by reason."""

    lang: str
    side: str
    train: int
    validation: int
    dropped: str


@dataclass(frozen=True)
class RetrievalPart:
    """What the page says of one variant's training for retrieval.

    Attributes:
        note: a sentence where it did not help.
        rows: its texts.
        plots: its curves.
    """

    note: str
    rows: Sequence[SideRow]
    plots: Sequence[Plot]


def read_retrieval(root: Path, model: Path) -> RetrievalPart:
    """Gather the section of one variant.

    Args:
        root: the run's folder.
        model: the model that was trained for retrieval.

    Raises:
        ArtifactError: an artifact is damaged.
    """
    manifest = read_manifest(model, "distilled", verify=False)
    rows = [_row(root, *name.rsplit("-", 1)) for name in sorted(manifest.inputs["tokens"])]
    plots = training_plots(read_records(model / "training.jsonl"), manifest.facts)
    return RetrievalPart(_UNHELPFUL if is_untrained(manifest.facts) else "", rows, plots)


def _row(root: Path, lang: str, side: str) -> SideRow:
    path = root / "retrieval" / "texts" / lang / f"{side}.parquet"
    facts: Mapping[str, Any] = read_table_manifest(path, "corpus", CORPUS).facts
    passages, dropped = facts["passages"], dropped_texts(facts["dropped"])
    return SideRow(lang, side, passages["train"], passages["validation"], dropped)
