"""The folder that users load: the trained model with a card that says what it is and how good it is."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from langtailor.config.teacher import is_local
from langtailor.distillation.outcome import is_untrained
from langtailor.evaluation.comparison import Comparison
from langtailor.models.folder import ModelInfo
from langtailor.storage.artifacts import (
    MANIFEST_NAME,
    SNAKEMAKE_MARK,
    Manifest,
    atomic_directory,
    read_manifest,
    seal_directory,
)

_LOG = logging.getLogger("langtailor")
#: What training leaves beside the model and nobody needs to load it.
_NOT_PUBLISHED = (MANIFEST_NAME, SNAKEMAKE_MARK)


@dataclass(frozen=True)
class CardFacts:
    """What the model card tells besides the evaluation.

    Attributes:
        run: name of the run.
        variant: name of the variant.
        targets: target languages.
        languages: all languages of the corpus.
        teacher: the teacher's settings as configured.
        settings: the variant's complete settings.
    """

    run: str
    variant: str
    targets: Sequence[str]
    languages: Sequence[str]
    teacher: Mapping[str, Any]
    settings: Mapping[str, Any]


def publish_student(model: Path, teacher: Path, facts: CardFacts, comparisons: Sequence[Comparison], out: Path) -> None:
    """Copy a distilled model to ``out`` and give it a model card.

    Args:
        model: the distilled model (kind ``distilled``).
        teacher: the teacher's folder (kind ``teacher``).
        facts: what the card tells.
        comparisons: the evaluation of teacher, clone and student.
        out: the published folder (kind ``student``), a sentence-transformers model.

    Raises:
        ArtifactError: an input is damaged.
    """
    trained = read_manifest(model, "distilled")
    source = read_manifest(teacher, "teacher")
    with atomic_directory(out) as folder:
        shutil.copytree(model, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_PUBLISHED))
        info, teacher_info = ModelInfo.read(folder), ModelInfo.read(teacher)
        card = _card(facts, source, trained, info, teacher_info, comparisons)
        (folder / "README.md").write_text(card, encoding="utf-8")
        seal_directory(folder, Manifest("student", trained.made_by, trained.inputs, trained.facts))
    _LOG.info("published %s: %s parameters, %s tokens", out, f"{info.parameters:,}", f"{info.vocabulary_size:,}")


def _card(
    facts: CardFacts,
    source: Manifest,
    trained: Manifest,
    info: ModelInfo,
    teacher_info: ModelInfo,
    comparisons: Sequence[Comparison],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("langtailor.student", "."),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    return environment.get_template("card.md.jinja").render(
        facts=facts,
        source=source,
        untrained=is_untrained(trained.facts),
        info=info,
        teacher_info=teacher_info,
        rows=comparisons,
        front_matter=yaml.safe_dump(_front_matter(facts, source), sort_keys=False, allow_unicode=True).strip(),
        settings=yaml.safe_dump(dict(facts.settings), sort_keys=False, allow_unicode=True).strip(),
    )


def _front_matter(facts: CardFacts, source: Manifest) -> dict[str, Any]:
    front: dict[str, Any] = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "language": list(facts.languages),
        "tags": ["sentence-transformers", "feature-extraction", "sentence-similarity", "langtailor"],
    }
    model = str(facts.teacher["model"])
    if not is_local(model):
        front["base_model"] = model
    if licence := source.facts.get("license"):
        front["license"] = licence
    return front
