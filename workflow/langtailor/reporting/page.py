"""Gather what a run left behind and write it as one self-contained HTML page."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import yaml

from langtailor import tables
from langtailor.artifacts import Manifest, atomic_file, read_manifest
from langtailor.config import SPLITS
from langtailor.evaluation.comparison import MODELS, Comparison
from langtailor.reporting import plots
from langtailor.reporting.stages import StageRun, read_stages
from langtailor.teacher import TeacherInfo

_LIBRARIES = ("langtailor", "snakemake", "torch", "transformers", "tokenizers", "sentence-transformers", "pyarrow", "numpy")
_GRAFTS_SHOWN = 25
_FERTILITY, _AGREEMENT = "tokens per word", "cosine"


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Plot:
    """A plot and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class CorpusRow:
    """One language of the corpus."""

    lang: str
    source: str
    passages: Mapping[str, int]
    wanted: Mapping[str, int]
    characters: int
    documents: int
    dropped: str


@dataclass(frozen=True)
class VariantFiles:
    """Where one variant's artifacts lie."""

    name: str
    vocabulary: Path
    tokenizer: Path
    clone: Path
    model: Path


@dataclass(frozen=True)
class VariantPart:
    """What the page says of one variant; the template names each field."""

    name: str
    tiles: Sequence[Tile]
    scores: Sequence[Comparison]
    score_plots: Sequence[Plot]
    vocabulary_size: int
    teacher_vocabulary_size: int
    composition_plot: str
    fertility_plot: str
    token_columns: Sequence[str]
    token_rows: Sequence[Mapping[str, Any]]
    graft_rows: Sequence[Mapping[str, Any]]
    checks: Sequence[Mapping[str, str]]
    sizes: Sequence[Mapping[str, str]]
    training_plots: Sequence[Plot]
    settings: str


@dataclass(frozen=True)
class Page:
    """What the page says; the template names each field."""

    title: str
    summary: str
    targets: Sequence[str]
    stages: Sequence[StageRun]
    corpus: Sequence[CorpusRow]
    corpus_plot: str
    variants: Sequence[VariantPart]
    provenance: Sequence[tuple[str, str]]


def write_report(page: Page, out: Path) -> None:
    """Render a page to one HTML file without outside references."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("langtailor.reporting", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["duration"] = _duration
    environment.filters["figure"] = _figure
    with atomic_file(out) as temporary:
        temporary.write_text(environment.get_template("page.html.jinja").render(report=page), encoding="utf-8")
