"""The whole configuration of a run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from langtailor.config.base import SPLITS, Distinct, Name, Section, UserPath, problem
from langtailor.config.corpus import AnySource, CorpusSettings, HubSource, Quotas
from langtailor.config.distillation import DistillationSettings
from langtailor.config.evaluation import EvaluationSettings, TaskNeeds
from langtailor.config.export import ExportSettings
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.publish import PublishSettings
from langtailor.config.queries import QuerySettings
from langtailor.config.report import ReportSettings
from langtailor.config.retrieval import RetrievalSettings
from langtailor.config.student import StudentSettings
from langtailor.config.teacher import TeacherSettings, is_local, is_prompt_name
from langtailor.config.variants import CUT, Variant, VariantOverrides, clone_owner, compared_models, cut_variant, merged
from langtailor.config.vectors import Shard, VectorSettings, packed
from langtailor.config.vocabulary import VocabularySettings

#: More take minutes and gigabytes to plan.
_MOST_SHARDS = 100_000


class Settings(Section):
    """The whole configuration of a run."""

    run: Name = "langtailor"
    """Name of the run; all its files are in `<results>/<run>`. By default the configuration file's name, so that two files do
    not share a folder."""
    results: UserPath = "results"
    """Folder of all runs."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of sampling, initialisation and training."""
    container: UserPath | None = None
    """Image in which jobs run with Snakemake's `--sdm apptainer`: a file (`./langtailor.sif`), or an address
    (`docker://registry.example.org/langtailor:gpu`). The repository's `Dockerfile` builds one."""
    target_languages: Distinct[Name] = ()
    """Languages of the corpus for which new tokens are grafted, and which the report is about; by default all."""
    teacher: TeacherSettings
    """The model to tailor."""
    corpus: CorpusSettings
    """Where text comes from and how it is chunked."""
    vocabulary: VocabularySettings = VocabularySettings()
    """Which tokens the student has."""
    initialisation: InitialisationSettings = InitialisationSettings()
    """How the row of a new token is made from the teacher's rows."""
    student: StudentSettings = StudentSettings()
    """What the student is made of, if not of the whole teacher."""
    vectors: VectorSettings = VectorSettings()
    """How the teacher's vectors are computed and stored."""
    distillation: DistillationSettings | None = DistillationSettings()
    """How the student is trained on the stored vectors. `null` skips training: the student is the clone."""
    queries: QuerySettings = QuerySettings()
    """Queries and the documents that answer them, for `retrieval`."""
    retrieval: RetrievalSettings | None = None
    """How the student is then trained for retrieval on `queries`. `null` skips this training."""
    export: ExportSettings = ExportSettings()
    """Exports of the student to other runtimes."""
    # Not a default value: the kinds of its tasks are not registered yet.
    evaluation: Annotated[EvaluationSettings, Field(default_factory=EvaluationSettings)]
    """The tasks on which teacher, clone and student are compared."""
    report: ReportSettings = ReportSettings()
    """The report page."""
    publish: PublishSettings = PublishSettings()
    """What `snakemake publish` uploads to the Hub, and where."""
    variants: Annotated[dict[Name, VariantOverrides], Field(min_length=1)] = {"tailored": VariantOverrides()}
    """Students to make, by name. They share corpus, counts and teacher vectors."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for lang in self.target_languages:
            if lang not in self.corpus.languages:
                raise problem(
                    "target_languages",
                    f"found {lang!r}, which is none of corpus.languages {sorted(self.corpus.languages)}",
                )
        if "teacher" in self.variants:
            raise problem("variants.teacher", "a variant cannot have this name, which is reserved for the teacher")
        if self.publish.repo and len(self.variants) > 1 and not self.publish.names_variant:
            raise problem(
                "publish.repo",
                f"there are {len(self.variants)} variants for one repository; put {{variant}} into its name",
            )
        for lang in self.corpus.languages:
            self.source(lang)
        self._refuse_other_languages("queries.pairs", self.queries.pairs)
        self._refuse_other_languages("teacher.language_prompts", self.teacher.language_prompts)
        self._refuse_other_languages("student.language_prompts", self.student.language_prompts)
        for name in self.evaluation.tasks:
            try:
                self.task_needs(name)
            except PydanticCustomError as error:
                context = error.context or {}
                raise problem(f"evaluation.tasks.{name}.{context['key']}", context["message"]) from error
        self._check_shards()
        return self

    def _refuse_other_languages(self, key: str, names: Iterable[str]) -> None:
        """Refuse a section by language that names one which the corpus does not have."""
        for lang in names:
            if lang not in self.corpus.languages:
                languages = sorted(self.corpus.languages)
                raise problem(f"{key}.{lang}", f"there is no such language in corpus.languages {languages}")

    def _check_shards(self) -> None:
        """Refuse quotas that make more shards than can be planned."""
        shards = {lang: -(-self.quotas(lang).total // self._shard_passages(lang)) for lang in self.corpus.languages}
        if (total := sum(shards.values())) <= _MOST_SHARDS:
            return
        most = max(shards, key=lambda lang: shards[lang])
        key = f"corpus.languages.{most}.quotas" if self.corpus.languages[most].quotas else "corpus.quotas"
        passages = sum(self.quotas(lang).total for lang in shards)
        raise problem(
            key,
            f"{passages:,} passages over all languages and splits would plan {total:,} shards of teacher vectors, more than "
            f"{_MOST_SHARDS:,}; lower the quotas, or raise vectors.shard_passages, the number of passages in one shard",
        )

    def _shard_passages(self, lang: str) -> int:
        return self.corpus.languages[lang].shard_passages or self.vectors.shard_passages

    @property
    def targets(self) -> tuple[str, ...]:
        """The target languages."""
        return self.target_languages or tuple(sorted(self.corpus.languages))

    @property
    def root(self) -> Path:
        """Folder of the run."""
        return Path(self.results) / self.run

    def source(self, lang: str) -> AnySource:
        """The source of a language."""
        name = self.source_name(lang)
        if name not in self.corpus.sources:
            raise problem(
                f"corpus.languages.{lang}.source",
                f"found {name!r}, which is none of corpus.sources {sorted(self.corpus.sources)}",
            )
        return self.corpus.sources[name]

    def source_name(self, lang: str) -> str:
        """Name of a language's source."""
        name = self.corpus.languages[lang].source
        if name is not None:
            return name
        if len(self.corpus.sources) != 1:
            raise problem(
                f"corpus.languages.{lang}.source", f"it is missing; name one of {sorted(self.corpus.sources)}"
            )
        return next(iter(self.corpus.sources))

    def quotas(self, lang: str) -> Quotas:
        """Passages per split of a language."""
        return self.corpus.languages[lang].quotas or self.corpus.quotas

    def total(self, split: str) -> int:
        """Passages of a split over all languages, where there are as many as asked for."""
        return sum(getattr(self.quotas(lang), split) for lang in self.corpus.languages)

    def name_in_source(self, lang: str) -> str:
        """What the source calls a language."""
        return self.corpus.languages[lang].name_in_source or lang

    @property
    def base(self) -> TeacherSettings | None:
        """How the encoder that the students are made of is read, where it is not the teacher."""
        return self.student.encoder

    @property
    def reading(self) -> TeacherSettings:
        """How clones and students are read: as the model that they are made of."""
        return self.base or self.teacher

    @property
    def uses_hub(self) -> bool:
        """Whether any language's text comes from the Hub."""
        return any(isinstance(self.source(lang), HubSource) for lang in self.corpus.languages)

    @property
    def uses_hub_donor(self) -> bool:
        """Whether any variant's grafts come from a tokenizer on the Hub."""
        donors = (self.variant(name).vocabulary.graft.donor for name in self.variants)
        return any(donor != "trained" and not is_local(donor) for donor in donors)

    @property
    def vector_splits(self) -> tuple[str, ...]:
        """Splits that need the teacher's vectors: if nothing is trained, not the training split."""
        variants = self.complete_variants.values()
        fitted = (variant.student.dimensions or variant.student.model for variant in variants)
        if any(variant.distillation is not None for variant in variants) or any(fitted):
            return SPLITS
        judged = any(v.vocabulary.graft.policy == "agreement" or v.rows_judged for v in variants)
        return ("validation", "test") if judged else ("test",)

    def shards(self, lang: str) -> tuple[Shard, ...]:
        """The vector shards of a language, known from its quotas before any text is.

        Splits are mixed in the corpus: of those without vectors each shard lacks about the same share.
        """
        quotas, most = self.quotas(lang), self._shard_passages(lang)
        encoded = sum(getattr(quotas, split) for split in self.vector_splits)
        return tuple(
            Shard(lang, number, start, most, min(most, quotas.total - start) * encoded // quotas.total)
            for number, start in enumerate(range(0, quotas.total, most))
        )

    @cached_property
    def vector_jobs(self) -> tuple[tuple[Shard, ...], ...]:
        """The shards of all languages, sorted, by the job that makes them."""
        shards = (shard for lang in sorted(self.corpus.languages) for shard in self.shards(lang))
        return packed(shards, self.vectors.passages_per_job)

    def task_needs(self, name: str) -> TaskNeeds:
        """What an evaluation task reads."""
        return self.evaluation.tasks[name].needs(sorted(self.corpus.languages))

    @property
    def written_prompts(self) -> tuple[str, ...]:
        """Prompts that the configuration writes out for the students, sorted. Those that it names are among the model's own."""
        prompts = {prompt for _, prompt in (self.base_prompts if self.base else self.asked_prompts)}
        return tuple(sorted(prompt for prompt in prompts if prompt and not is_prompt_name(prompt)))

    @property
    def asked_prompts(self) -> list[tuple[str, str]]:
        """Prompts that the configuration names or writes out for the teacher, each behind its key."""
        prompts = _prompts("teacher", self.teacher)
        if self.query_languages:
            prompts += [("queries.query_prompt", self.queries.query_prompt)]
            prompts += [("queries.document_prompt", self.queries.document_prompt)]
        return [(key, prompt) for key, prompt in [*prompts, *self._task_prompts] if prompt is not None]

    @property
    def base_prompts(self) -> list[tuple[str, str]]:
        """The same for the encoder that the students are made of; none where that is the teacher."""
        prompts = [*_prompts("student", self.base), *self._task_prompts] if self.base else []
        return [(key, prompt) for key, prompt in prompts if prompt is not None]

    @property
    def _task_prompts(self) -> list[tuple[str, str]]:
        needs = {name: self.task_needs(name) for name in self.evaluation.tasks}
        return [(f"evaluation.tasks.{name}", prompt) for name in needs for prompt in needs[name].prompts]

    @property
    def query_languages(self) -> list[str]:
        """Languages with queries and documents, where a variant is trained on these; sorted."""
        if not any(variant.retrieval for variant in self.complete_variants.values()):
            return []
        return sorted(lang for lang in self.corpus.languages if lang in self.queries.pairs or self.queries.made)

    def variant(self, name: str) -> Variant:
        """A variant's complete sections: the top-level ones with its overrides; or one of :attr:`cut_variants`."""
        if name.endswith(CUT):
            return self.variant(name.removesuffix(CUT)).cut_alone()
        return self.complete_variants[name]

    @cached_property
    def complete_variants(self) -> dict[str, Variant]:
        """The variants of the configuration with their complete sections, made once: a plan asks for them per job."""
        return {name: Variant.model_validate(self.merged_variant(name)) for name in self.variants}

    @property
    def cut_variants(self) -> tuple[str, ...]:
        """The variants, only cut, that the workflow adds to those of the configuration; sorted."""
        variants = self.complete_variants
        return tuple(sorted({cut_variant(name, variants) for name in variants} - set(variants)))

    def clone_of(self, name: str) -> str:
        """The variant under whose name a variant's vocabulary, tokenizer and clone are stored; see :func:`clone_owner`."""
        return name if name.endswith(CUT) else clone_owner(name, self.complete_variants)

    @property
    def cloned_variants(self) -> list[str]:
        """The variants under whose names clones are stored, including those that are only cut; sorted."""
        return sorted({self.clone_of(name) for name in self.variants}.union(self.cut_variants))

    @property
    def exports(self) -> list[tuple[str, str]]:
        """Variant and format of each export."""
        return [(name, made) for name in sorted(self.variants) for made in self.complete_variants[name].export.formats]

    def compared(self, name: str) -> dict[str, str]:
        """The models that a variant is judged by: the folder below ``evaluation/`` by step."""
        return compared_models(name, self.complete_variants)

    def merged_variant(self, name: str) -> dict[str, Any]:
        """The same as plain data, not yet validated."""
        return merged({section: getattr(self, section) for section in Variant.model_fields}, self.variants[name])


def _prompts(key: str, reading: TeacherSettings) -> list[tuple[str, str | None]]:
    """The prompts before the text of the corpus, each behind its key."""
    by_language = [(f"{key}.language_prompts.{lang}", prompt) for lang, prompt in reading.language_prompts.items()]
    return [(f"{key}.prompt", reading.prompt), *by_language]
