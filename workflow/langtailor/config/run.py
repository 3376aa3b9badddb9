"""The whole configuration of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from langtailor.config.base import Name, Section
from langtailor.config.corpus import CorpusSettings, FilesSource, HubSource, Quotas, SampleSource
from langtailor.config.distillation import DistillationSettings
from langtailor.config.evaluation import EvaluationSettings, TaskNeeds
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.teacher import TeacherSettings, is_local
from langtailor.config.vectors import VectorSettings
from langtailor.config.vocabulary import VocabularySettings


class ReportSettings(Section):
    """The report page."""

    title: str | None = None
    """Heading of the page; `null` makes one from the run's name."""


class VariantOverrides(Section):
    """What one variant does differently from the top-level sections of the same names."""

    vocabulary: dict[str, Any] = {}
    """Overrides of `vocabulary`."""
    initialisation: dict[str, Any] = {}
    """Overrides of `initialisation`."""
    distillation: dict[str, Any] = {}
    """Overrides of `distillation`."""


class Variant(Section):
    """One complete choice of vocabulary, initialisation and training."""

    vocabulary: VocabularySettings
    initialisation: InitialisationSettings
    distillation: DistillationSettings


class Settings(Section):
    """The whole configuration of a run."""

    run: Name = "demo"
    """Name of the run; everything lands in `<results>/<run>`."""
    results: str = "results"
    """Folder of all runs."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seeds sampling, initialisation and training."""
    target_languages: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Languages of the corpus for which new tokens are grafted."""
    teacher: TeacherSettings
    """The model to tailor."""
    corpus: CorpusSettings
    """Where text comes from and how it is cut."""
    vocabulary: VocabularySettings = VocabularySettings()
    """Which tokens the student has."""
    initialisation: InitialisationSettings = InitialisationSettings()
    """How the row of a new token is made from the teacher's rows."""
    vectors: VectorSettings = VectorSettings()
    """How the teacher's vectors are computed and stored."""
    distillation: DistillationSettings = DistillationSettings()
    """How the student is trained on the stored vectors."""
    # Not a default value: the kinds of its tasks are not registered yet.
    evaluation: Annotated[EvaluationSettings, Field(default_factory=EvaluationSettings)]
    """What teacher, clone and student are compared on."""
    report: ReportSettings = ReportSettings()
    """The report page."""
    variants: Annotated[dict[Name, VariantOverrides], Field(min_length=1)] = {"tailored": VariantOverrides()}
    """Students to make, by name. They share corpus, counts and teacher vectors."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for lang in self.target_languages:
            if lang not in self.corpus.languages:
                raise ValueError(
                    f"target_languages: {lang!r} is not one of corpus.languages {sorted(self.corpus.languages)}"
                )
        for lang in self.corpus.languages:
            self.source(lang)
        for name in self.evaluation.tasks:
            try:
                self.task_needs(name)
            except ValueError as error:
                raise ValueError(f"evaluation.tasks.{name}.{error}") from error
        return self

    @property
    def root(self) -> Path:
        """Folder of the run."""
        return Path(self.results) / self.run

    def source(self, lang: str) -> SampleSource | FilesSource | HubSource:
        """The source of a language. Raises ``ValueError`` when the configuration names none."""
        name = self.source_name(lang)
        if name not in self.corpus.sources:
            raise ValueError(
                f"corpus.languages.{lang}.source: {name!r} is not one of corpus.sources {sorted(self.corpus.sources)}"
            )
        return self.corpus.sources[name]

    def source_name(self, lang: str) -> str:
        """Name of a language's source. Raises ``ValueError`` when it is open which one is meant."""
        name = self.corpus.languages[lang].source
        if name is not None:
            return name
        if len(self.corpus.sources) != 1:
            raise ValueError(f"corpus.languages.{lang}.source: say which of {sorted(self.corpus.sources)}")
        return next(iter(self.corpus.sources))

    def quotas(self, lang: str) -> Quotas:
        """Passages per split of a language."""
        return self.corpus.languages[lang].quotas or self.corpus.quotas

    def name_in_source(self, lang: str) -> str:
        """What the source calls a language."""
        return self.corpus.languages[lang].name_in_source or lang

    @property
    def uses_hub(self) -> bool:
        """Whether any language's text comes from the Hub."""
        return any(isinstance(self.source(lang), HubSource) for lang in self.corpus.languages)

    @property
    def uses_hub_donor(self) -> bool:
        """Whether any variant's grafts come from a tokenizer on the Hub."""
        donors = (self.variant(name).vocabulary.graft.donor for name in self.variants)
        return any(donor != "trained" and not is_local(donor) for donor in donors)

    def vector_settings(self, lang: str) -> VectorSettings:
        """How the teacher's vectors of a language are computed and stored."""
        passages = self.corpus.languages[lang].shard_passages or self.vectors.shard_passages
        return self.vectors.model_copy(update={"shard_passages": passages})

    def shards(self, lang: str) -> tuple[int, ...]:
        """Passages of each vector shard of a language that its quotas fill, known before any text is."""
        total, most = self.quotas(lang).total, self.vector_settings(lang).shard_passages
        return tuple(min(most, total - start) for start in range(0, total, most))

    def task_needs(self, name: str) -> TaskNeeds:
        """What an evaluation task reads. Raises ``ValueError`` when it does not fit the corpus's languages."""
        return self.evaluation.tasks[name].needs(sorted(self.corpus.languages))

    def variant(self, name: str) -> Variant:
        """A variant's complete sections: the top-level ones with its overrides."""
        return Variant.model_validate(self._merged(name))

    def _merged(self, name: str) -> dict[str, Any]:
        overrides = self.variants[name]
        return {
            section: _merge(getattr(self, section).model_dump(), getattr(overrides, section))
            for section in Variant.model_fields
        }


def _merge(base: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged
