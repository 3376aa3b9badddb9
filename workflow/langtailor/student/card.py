"""The folder that users load: the student with a card that says what it is and how good it is."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from langtailor.config.teacher import is_local
from langtailor.config.variants import STEPS
from langtailor.distillation.outcome import is_untrained
from langtailor.evaluation.comparison import Comparison, harm, main_rows
from langtailor.models.folder import ModelInfo
from langtailor.models.model_card import described_origin, public_name
from langtailor.reduction.projection import PROJECTION_NAME
from langtailor.sources.collection import language_pair
from langtailor.storage.artifacts import (
    MANIFEST_NAME,
    SNAKEMAKE_MARK,
    Manifest,
    atomic_directory,
    read_manifest,
    seal_directory,
)
from langtailor.storage.tables import MAPPING_NAME
from langtailor.student.limits import unify_limits
from langtailor.student.markdown import markdown_template
from langtailor.student.model_index import eval_result
from langtailor.student.prompt import TrainedPrompt, name_role_prompts
from langtailor.student.retention import retained

_LOG = logging.getLogger("langtailor")
#: What training and cloning leave beside the model and nobody needs to load it.
_NOT_TAKEN = (MANIFEST_NAME, SNAKEMAKE_MARK, MAPPING_NAME, PROJECTION_NAME)
#: ISO 639, which is all that the Hub takes for a language.
_LANGUAGE_CODE = re.compile("[a-z]{2,3}")


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
        steps: the steps from the teacher to the student (:mod:`langtailor.evaluation.comparison`).
        corpus: the corpus's settings.
        queries: the settings of queries and documents.
        sources: source of each language, as configured.
        base: the settings of another encoder that the student is made of; ``None`` where that is the teacher.
    """

    run: str
    variant: str
    targets: Sequence[str]
    languages: Sequence[str]
    teacher: Mapping[str, Any]
    settings: Mapping[str, Any]
    steps: Sequence[str]
    corpus: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, Any]]
    queries: Mapping[str, Any] = field(default_factory=dict)
    base: Mapping[str, Any] | None = None

    @property
    def made_of(self) -> Mapping[str, Any]:
        """The settings of the model that the student is made of."""
        return self.teacher if self.base is None else self.base

    @property
    def is_reduced(self) -> bool:
        """Whether more than the vocabulary of the model that it is made of was changed before training."""
        return bool({"reduced", "mapped"}.intersection(self.steps))

    @property
    def is_trained(self) -> bool:
        """Whether the student is more than a clone."""
        return "trained" in self.steps or self.for_retrieval

    @property
    def for_retrieval(self) -> bool:
        """Whether the student's last training was for retrieval."""
        return "retrieval" in self.steps

    @property
    def datasets(self) -> list[str]:
        """The Hub's data sets that the text is from."""
        return sorted({source["dataset"] for source in self.sources.values() if source["kind"] == "hub"})

    @property
    def configuration(self) -> dict[str, Any]:
        """All settings that shape the student; of a path on this machine, only the last part."""
        teacher = {**self.teacher, "model": public_name(self.teacher["model"])}
        queries = {"queries": self.queries} if self.for_retrieval else {}
        named: dict[str, Any] = without_folders({"teacher": teacher, "corpus": self.corpus, **queries, **self.settings})
        return named


def assemble_student(
    model: Path, teacher: Path, facts: CardFacts, comparisons: Sequence[Comparison], out: Path
) -> None:
    """Copy a distilled model, or a clone that nothing trains, to ``out`` and give it a model card.

    Args:
        model: the distilled model (kind ``distilled``), or the clone where the settings have no ``distillation``.
        teacher: the folder (kind ``teacher``) of the model that it is made of: the teacher, or another encoder.
        facts: what the card tells.
        comparisons: the evaluation of the teacher, the student and the steps between them.
        out: the published folder (kind ``student``), a sentence-transformers model.

    Raises:
        ArtifactError: an input is damaged.
    """
    trained = read_manifest(model, "distilled" if facts.is_trained else "clone")
    source = read_manifest(teacher, "teacher")
    for sentence in harm(comparisons):
        _LOG.warning("%s", sentence)
    with atomic_directory(out) as folder:
        shutil.copytree(model, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_TAKEN))
        info, teacher_info = ModelInfo.read(folder), ModelInfo.read(teacher)
        unify_limits(folder, info.max_length)
        prompt = TrainedPrompt.of(info, facts.made_of["prompt"])
        if facts.is_trained:
            prompt.make_default(folder)
        if facts.for_retrieval:
            name_role_prompts(folder, facts.queries)
        name = facts.made_of["model"]
        origin = described_origin(teacher) if is_local(name) else name
        # Of many languages, the card has the means over pairs; the report has each pair.
        rows = [row for row in comparisons if not language_pair(row.group)]
        card = _card(facts, source, trained, origin, info, teacher_info, prompt, rows)
        (folder / "README.md").write_text(card, encoding="utf-8")
        seal_directory(folder, Manifest("student", trained.made_by, trained.inputs, trained.facts))
    _LOG.info("assembled %s: %s parameters, %s tokens", out, f"{info.parameters:,}", f"{info.vocabulary_size:,}")


def _card(
    facts: CardFacts,
    source: Manifest,
    trained: Manifest,
    origin: str | None,
    info: ModelInfo,
    teacher_info: ModelInfo,
    prompt: TrainedPrompt,
    comparisons: Sequence[Comparison],
) -> str:
    return markdown_template("langtailor.student", "card.md.jinja").render(
        facts=facts,
        source=source,
        is_trained=facts.is_trained,
        untrained=is_untrained(trained.facts),
        steps=STEPS,
        harm=harm(comparisons),
        teacher_name=public_name(facts.teacher["model"]),
        base_name=public_name(facts.made_of["model"]),
        info=info,
        teacher_info=teacher_info,
        prompt=prompt,
        rows=comparisons,
        main_rows=main_rows(comparisons),
        retained=retained,
        text_sources=_text_sources(facts),
        front_matter=_front_matter(facts, source, origin, comparisons).to_yaml().strip(),
        settings=yaml.safe_dump(facts.configuration, sort_keys=False, allow_unicode=True),
    )


def _front_matter(
    facts: CardFacts, source: Manifest, origin: str | None, comparisons: Sequence[Comparison]
) -> ModelCardData:
    """The card's metadata (https://huggingface.co/docs/hub/model-cards#model-card-metadata), scores included."""
    return ModelCardData(
        base_model=origin,
        base_model_relation="finetune" if origin else None,
        language=[lang for lang in facts.languages if _LANGUAGE_CODE.fullmatch(lang)] or None,
        datasets=facts.datasets or None,
        library_name="sentence-transformers",
        license=source.facts.get("license"),
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "sentence-similarity", "langtailor"],
        model_name=f"{facts.run}-{facts.variant}",
        eval_results=[_score(row) for row in comparisons] or None,
    )


def _score(row: Comparison) -> EvalResult:
    return eval_result(row.task, row.metric, row.scores[row.student].value, row.group)


def _text_sources(facts: CardFacts) -> list[str]:
    """Where the text is from, in Markdown."""
    kinds = {
        "sample": "the sample of langtailor",
        "files": "files of the author's",
        "vocabulary": "none, words of the teacher's vocabulary in its place",
    }
    used = {source["kind"] for source in facts.sources.values()}
    return [*(f"`{name}`" for name in facts.datasets), *(text for kind, text in kinds.items() if kind in used)]


def without_folders(value: Any) -> Any:
    """Settings in which of every absolute path the last part is left; prompts stay as they are."""
    if isinstance(value, Mapping):
        return {
            key: each if key in ("prompt", "language_prompts") else without_folders(each) for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    is_path = isinstance(value, str) and Path(value).expanduser().is_absolute()
    return Path(value).name if is_path else value
