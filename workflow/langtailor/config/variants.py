"""Settings of the variants: what each student of a run does differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langtailor.config.base import Section
from langtailor.config.distillation import DistillationSettings
from langtailor.config.export import ExportSettings
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.retrieval import RetrievalSettings
from langtailor.config.student import StudentSettings
from langtailor.config.vocabulary import GraftSettings, VocabularySettings

#: What each step of a variant is called where people read it.
STEPS = {
    "teacher": "teacher",
    "base": "base model",
    "cut": "cut only",
    "grafted": "grafted",
    "reduced": "reduced",
    "mapped": "mapped",
    "trained": "trained",
    "retrieval": "trained for retrieval",
}
#: The suffix of a variant that is only cut and not in the configuration. No name in a configuration has a dot.
CUT = ".cut"


class VariantOverrides(Section):
    """What one variant changes in the top-level sections of the same names."""

    vocabulary: dict[str, Any] = {}
    """Overrides of `vocabulary`."""
    initialisation: dict[str, Any] = {}
    """Overrides of `initialisation`."""
    student: dict[str, Any] = {}
    """Overrides of `student`."""
    distillation: dict[str, Any] | None = {}
    """Overrides of `distillation`; `null` leaves this student untrained, `{}` trains it with what `distillation` has, or its
    defaults."""
    retrieval: dict[str, Any] | None = {}
    """Overrides of `retrieval`; `null` leaves this student without it, `{}` trains it with what `retrieval` has, or its
    defaults."""
    export: dict[str, Any] = {}
    """Overrides of `export`."""


class Variant(Section):
    """One complete choice of vocabulary, initialisation, size, training and exports."""

    vocabulary: VocabularySettings
    initialisation: InitialisationSettings
    student: StudentSettings = StudentSettings()
    distillation: DistillationSettings | None
    retrieval: RetrievalSettings | None = None
    export: ExportSettings = ExportSettings()

    @property
    def training(self) -> DistillationSettings:
        """The settings of its training, which only trained variants have."""
        assert self.distillation is not None
        return self.distillation

    @property
    def rows_read_corpus(self) -> bool:
        """Whether the rows of new tokens depend on the corpus; false where there are none."""
        return self.vocabulary.graft.offers_rows and self.initialisation.reads_corpus

    @property
    def rows_judged(self) -> bool:
        """Whether it is by vectors that the method of new rows is chosen."""
        return self.vocabulary.graft.offers_rows and self.initialisation.method == "agreement"

    def has_clone_of(self, other: Variant) -> bool:
        """Whether both have the same vocabulary and rows, so that they differ in what is made of the clone."""
        if self.vocabulary.graft.offers_rows or other.vocabulary.graft.offers_rows:
            return self.vocabulary == other.vocabulary and self.initialisation == other.initialisation
        return self.cut_alone() == other.cut_alone()

    def cut_alone(self) -> Variant:
        """The same with no new tokens and no training."""
        vocabulary = self.vocabulary.model_copy(update={"graft": GraftSettings(share=0)})
        return Variant(vocabulary=vocabulary, initialisation=InitialisationSettings(), distillation=None)


def clone_owner(name: str, variants: Mapping[str, Variant]) -> str:
    """The variant under whose name the vocabulary, the tokenizer and the clone of a variant are stored.

    Variants that differ only in what is made of the clone share it, under the name of the first in the configuration.
    """
    return next(other for other in variants if variants[name].has_clone_of(variants[other]))


def cut_variant(name: str, variants: Mapping[str, Variant]) -> str:
    """The name of the variant that shows what cutting alone does, for one of the variants of a configuration.

    That is the variant itself if it has no new tokens; another one that has the same vocabulary except for these; or
    one that the workflow adds, under a name of its own.
    """
    cut = variants[name].cut_alone().vocabulary
    alike = [other for other in variants if variants[other].cut_alone().vocabulary == cut]
    return next((other for other in alike if not variants[other].vocabulary.graft.offers_rows), alike[0] + CUT)


def compared_models(name: str, variants: Mapping[str, Variant]) -> dict[str, str]:
    """The models that a variant is judged by: the folder below ``evaluation/`` by step.

    The steps are ``teacher``, ``base`` where the student is made of another encoder, ``cut`` (only cut), ``grafted`` where
    there may be new tokens, ``reduced`` where it has fewer layers or dimensions (``mapped`` where another encoder's vectors are
    mapped to the teacher's), ``trained`` where it is trained, and ``retrieval`` where it is then trained for
    that. The last one is the student.
    """
    variant = variants[name]
    base = {"base": f"{next(iter(variants))}/base"} if variant.student.model else {}
    models = {"teacher": "teacher", **base, "cut": f"{cut_variant(name, variants)}/clone"}
    if variant.vocabulary.graft.offers_rows:
        models["grafted"] = f"{clone_owner(name, variants)}/clone"
    if variant.student.is_reduced:
        models["mapped" if base else "reduced"] = f"{name}/reduced"
    if variant.distillation is not None:
        models["trained"] = f"{name}/distilled" if variant.retrieval else f"{name}/student"
    if variant.retrieval is not None:
        models["retrieval"] = f"{name}/student"
    return models


def merged(sections: Mapping[str, Section | None], overrides: VariantOverrides) -> dict[str, Any]:
    """The sections with a variant's overrides, as plain data that is not yet validated."""
    return {
        name: _overridden(None if section is None else section.model_dump(), name, overrides)
        for name, section in sections.items()
    }


def _overridden(section: dict[str, Any] | None, name: str, overrides: VariantOverrides) -> dict[str, Any] | None:
    """A section as it is where the variant does not name it; ``{}`` over a section that is null takes its defaults."""
    values = getattr(overrides, name)
    if name not in overrides.model_fields_set:
        return section
    return None if values is None else _merge(section or {}, values)


def _merge(base: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data with overrides, those of a nested section one by one."""
    result = dict(base)
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), dict):
            result[key] = _merge(result[key], value)
        else:
            result[key] = value
    return result
