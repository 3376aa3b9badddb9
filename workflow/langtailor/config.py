"""The configuration, described once.

These models are the only description of the configuration: types, bounds, defaults and the texts that
users read. ``config/schema.yaml`` is generated from them (``make schema``; a test holds the two equal),
Snakemake validates with that schema, and the stages receive the models themselves.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from langtailor.errors import ConfigError

#: Names that become a path component: nothing that leaves the folder or hides in it.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
SectionT = TypeVar("SectionT", bound="Section")
SPLITS = ("train", "validation", "test")


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values cannot be changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Quotas(Section):
    """Passages per split of one language."""

    train: Annotated[int, Field(ge=1)] = 10_000
    """Passages that are counted and trained on."""
    validation: Annotated[int, Field(ge=0)] = 1_000
    """Passages that choose the vocabulary's grafts and watch the training."""
    test: Annotated[int, Field(ge=0)] = 1_000
    """Passages that nothing but the evaluation sees."""

    @property
    def total(self) -> int:
        """Passages over all splits."""
        return self.train + self.validation + self.test


class TeacherSettings(Section):
    """The model to tailor."""

    model: Annotated[str, Field(min_length=1)]
    """A Hub id (`google/embeddinggemma-300m`), a folder (starts with `/`, `./`, `../` or `~`), or a model
    carried by an installed Python package (`package:NAME/FOLDER`)."""
    revision: str = "main"
    """Branch, tag or commit of a Hub model; resolved once to a commit and recorded."""
    prompt: str | None = None
    """Prompt put before each text: the name of one of the model's own prompts, or the prompt itself.
    `null` takes the model's default, an empty string none."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens at which the teacher cuts a text; `null` takes the model's own limit."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision in which the teacher computes."""
    reads: Literal["text", "pair"] = "text"
    """What the teacher embeds: the passage itself, or, where a passage has one, its aligned text."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Leave off unless you have read that code."""


class SampleSource(Section):
    """The parallel sample corpus that ships with langtailor."""

    kind: Literal["sample"]


class FilesSource(Section):
    """Local files: Parquet, JSON Lines, plain text (a passage a line) or TSV (text, tab, aligned text)."""

    kind: Literal["files"]
    path: Annotated[str, Field(min_length=1)]
    """A file or a folder of files; `{lang}` stands for the language. Relative to the working directory."""
    text_field: str = "text"
    """Column (Parquet) or key (JSON Lines) of the text."""
    pair_field: str | None = None
    """Column or key of the aligned text, where there is one."""
    pair_path: str | None = None
    """For plain text: the file whose line i is aligned with line i of `path`."""
    id_field: str | None = None
    """Column or key of a stable document id; `null` numbers the documents."""


class HubSource(Section):
    """A data set of the Hub, stored as Parquet, sampled over the whole of it."""

    kind: Literal["hub"]
    dataset: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    """`owner/name` of the data set."""
    revision: str = "main"
    """Branch, tag or commit; resolved once to a commit and recorded."""
    subset: str = "{lang}"
    """Configuration (subset) of the data set; `{lang}` stands for the language."""
    split: str = "train"
    """Split of the data set that is read."""
    text_field: str = "text"
    """Column of the text."""
    pair_field: str | None = None
    """Column of the aligned text, where there is one."""
    id_field: str | None = "id"
    """Column of a stable document id; `null` numbers the documents."""


Source = Annotated[SampleSource | FilesSource | HubSource, Field(discriminator="kind")]


def is_local(model: str) -> bool:
    """Whether a model's name means a folder or an installed package, and not the Hub."""
    return model.startswith((".", "/", "~", "package:"))


def parse_source(data: Mapping[str, Any]) -> SampleSource | FilesSource | HubSource:
    """A source from its plain data; inverse of ``model_dump``."""
    adapter: TypeAdapter[SampleSource | FilesSource | HubSource] = TypeAdapter(Source)
    return adapter.validate_python(data)


class LanguageSettings(Section):
    """One language of the corpus."""

    source: Name | None = None
    """Name of an entry in `corpus.sources`; may be left out when there is one source."""
    name_in_source: str | None = None
    """What the source calls the language, when it differs."""
    quotas: Quotas | None = None
    """Passages per split; `null` takes `corpus.quotas`."""
    shard_passages: Annotated[int, Field(ge=1)] | None = None
    """Passages in one shard of teacher vectors; `null` takes `vectors.shard_passages`. Fewer where passages are much longer
    than in the other languages make shards of equal work."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the language's token counts when the vocabulary is chosen."""


class CleaningSettings(Section):
    """What is done to a text before it becomes a passage."""

    min_characters: Annotated[int, Field(ge=1)] = 20
    """Shorter passages are dropped."""
    max_characters: Annotated[int, Field(ge=1)] = 100_000
    """Longer documents are cut here."""
    min_letter_share: Share = 0.5
    """Passages with a smaller share of letters (and combining marks) are dropped: tables, lists of numbers."""
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] | None = 0.8
    """Passages whose estimated Jaccard similarity (5-character shingles) to an earlier one reaches this are
    dropped; `null` removes exact duplicates only."""


class ShortSettings(Section):
    """Short passages among the full-length ones."""

    share: Share = 0.0
    """Share of the documents that are cut into short passages, so that students see short and long text alike. Documents
    with an aligned text are never cut."""
    tokens: Annotated[int, Field(ge=8)] = 64
    """Longest short passage in tokens of the teacher."""


class CorpusSettings(Section):
    """Where text comes from and how it is cut."""

    sources: dict[Name, Source]
    """Sources by name."""
    languages: Annotated[dict[Name, LanguageSettings], Field(min_length=1)]
    """The languages that the student keeps."""
    quotas: Quotas = Quotas()
    """Passages per split of each language that does not say otherwise."""
    chunk_tokens: Annotated[int, Field(ge=8)] = 512
    """Longest passage in tokens of the teacher; longer documents are cut at sentence or paragraph ends."""
    short: ShortSettings = ShortSettings()
    """Short passages among the full-length ones."""
    cleaning: CleaningSettings = CleaningSettings()
    """What is done to a text before it becomes a passage."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.short.share and self.short.tokens >= self.chunk_tokens:
            raise ValueError(f"short.tokens {self.short.tokens} must be less than chunk_tokens {self.chunk_tokens}")
        return self


class GraftSettings(Section):
    """New tokens for the target languages."""

    policy: Literal["fixed", "marginal"] = "fixed"
    """`fixed` offers `share` of the vocabulary to new tokens; `marginal` tries several shares and takes the one whose
    tokenizer spends the fewest tokens on the validation split, each language relative to the teacher."""
    share: Share = 0.25
    """Share of the vocabulary offered to new tokens; what they leave goes to the teacher's."""
    donor: str = "trained"
    """`trained` trains a tokenizer of the teacher's family on the target-language corpus; anything else is a Hub id or
    a folder whose tokenizer gives its tokens."""
    donor_revision: str = "main"
    """Branch, tag or commit of a donor on the Hub."""
    min_count: Annotated[int, Field(ge=1)] = 2
    """Uses in the target-language train split under which a new token is not worth a row."""


class VocabularySettings(Section):
    """Which tokens the student has."""

    size: Annotated[int, Field(ge=1)] = 16_384
    """Rows of the new embedding table; the budget for all tokens together."""
    pad_to_multiple_of: Annotated[int, Field(ge=1)] = 1
    """The table is padded with unused rows to a multiple of this; padding counts towards `size`."""
    coverage: Share = 0.9
    """Per-language floor: the most frequent tokens of each language that reach this share of its uses come before
    the rest, so that small languages are not drowned."""
    ranking: Literal["frequency", "loss"] = "frequency"
    """How tokens behind the floors compete: by weighted `frequency`, or by the `loss` of leaving one out: its weighted
    frequency times the squared distance (1 - cosine) of its row to the mean of the rows that would stand in for it."""
    alphabet: Literal["full", "corpus"] = "full"
    """For tokenizers that cannot write unknown characters in bytes: keep all characters of scripts that are not large
    (`full`), or only those that the corpus uses (`corpus`), so that text in other scripts becomes unknown."""
    min_count: Annotated[int, Field(ge=0)] = 1
    """Uses, weighted and over all languages, under which a teacher token is not kept. 0 lets tokens that the corpus never uses
    fill what is left of the budget, in the teacher's order."""
    keep_tokens: tuple[str, ...] = ()
    """Tokens of the teacher that are kept whatever their use, in the vocabulary's own spelling."""
    drop_pattern: str | None = None
    """Regular expression; teacher tokens whose text it matches anywhere are dropped."""
    graft: GraftSettings = GraftSettings()
    """New tokens for the target languages."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.drop_pattern is not None:
            try:
                re.compile(self.drop_pattern)
            except re.error as error:
                raise ValueError(f"drop_pattern is not a regular expression: {error}") from error
        if self.size % self.pad_to_multiple_of:
            raise ValueError(f"size {self.size} is not a multiple of pad_to_multiple_of {self.pad_to_multiple_of}")
        return self


class TokenDistillationSettings(Section):
    """Fit new rows so that hidden states with a new token are those with its old pieces (arXiv 2505.20133)."""

    steps: Annotated[int, Field(ge=0)] = 0
    """Steps of training the new rows; 0 leaves them as they were made."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Passages in one step."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate; it falls linearly to 0."""


class InitialisationSettings(Section):
    """How the row of a new token is made from the teacher's rows."""

    method: Literal["mean", "length-weighted", "norm-matched", "similarity", "aligned", "random"] = "mean"
    """`mean` of the teacher's rows for the token's text (the paper's); `length-weighted` by characters; `norm-matched`
    rescaled to the kept rows' mean norm; `similarity`: weighted kept tokens near the mean (FOCUS-like); `aligned`:
    weighted teacher tokens that translate the token in the corpus's sentence pairs; `random` from the teacher's
    distribution (the control)."""
    neighbours: Annotated[int, Field(ge=1)] = 8
    """Kept tokens that `similarity` combines."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Softmax temperature of `similarity` over cosine similarities."""
    token_distillation: TokenDistillationSettings = TokenDistillationSettings()
    """Fit the rows that the method made."""

    @property
    def reads_corpus(self) -> bool:
        """Whether new rows depend on the corpus."""
        return self.method == "aligned" or self.token_distillation.steps > 0


class VectorSettings(Section):
    """How the teacher's vectors are computed and stored."""

    shard_passages: Annotated[int, Field(ge=1)] = 10_000
    """Passages in one shard: the unit of work of one job, and what an interrupted job loses."""
    batch_tokens: Annotated[int, Field(ge=1)] = 16_384
    """Tokens in one forward pass; halved when the device runs out of memory."""


class ObjectiveSettings(Section):
    """Weights of the terms of the loss; the loss is their sum. A weight of 0 leaves a term out."""

    cosine: Annotated[float, Field(ge=0)] = 1.0
    """1 - cos(student, teacher): the paper's loss."""
    mse: Annotated[float, Field(ge=0)] = 0.0
    """Mean squared error of the vectors (Reimers and Gurevych 2020)."""
    relational: Annotated[float, Field(ge=0)] = 0.0
    """Mean squared error of the batch's cosine-similarity matrices (the similarity loss of Stella and Jasper)."""
    contrastive: Annotated[float, Field(ge=0)] = 0.0
    """InfoNCE of each student vector against the batch's stored teacher vectors."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Temperature of the contrastive term."""
    matryoshka: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Further dimensions at which all terms are also taken, on the truncated vectors scaled to length 1; the loss is
    the mean over the dimensions."""
    matryoshka_similarities: Literal["truncated", "full"] = "truncated"
    """What the relational term of a truncated student is compared with: the similarities of the truncated teacher
    vectors or those of the full ones."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.cosine + self.mse + self.relational + self.contrastive == 0:
            raise ValueError("every weight is 0; give at least one of cosine, mse, relational, contrastive a weight")
        return self


class StsPairs(Section):
    """Sentence pairs with human scores of how alike they are."""

    path: str | None = None
    """A CSV, TSV, JSON Lines or Parquet file."""
    dataset: str | None = None
    """Or a data set of the Hub, `owner/name`."""
    subset: str | None = None
    """Configuration of the Hub data set."""
    split: str = "test"
    """Split of the Hub data set."""
    revision: str = "main"
    """Revision of the Hub data set."""
    columns: tuple[str | int, str | int, str | int] = ("sentence1", "sentence2", "score")
    """Names of the two sentences' columns and of the score; numbers count columns of a file without a header."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("give exactly one of path and dataset")
        return self


class DistillationSettings(Section):
    """How the student is trained on the stored vectors."""

    objective: ObjectiveSettings = ObjectiveSettings()
    """The terms of the loss."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the train split."""
    language_weights: dict[Name, Annotated[float, Field(ge=0)]] = {}
    """How often each passage of a language is seen in an epoch; languages not named here count 1, 0 leaves one out."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Passages whose gradients make one step, over all devices."""
    micro_batch_tokens: Annotated[int, Field(ge=1)] = 16_384
    """Most tokens, padding included, in one forward pass; a batch is sorted by length and cut into such passes. Halved
    when the device runs out of memory. The gradient is that of the whole batch, whatever the cut."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    """Peak learning rate of the backbone."""
    embedding_learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the token embeddings; `null` takes `learning_rate`."""
    decay: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: Share = 0.01
    """Share of the steps over which the learning rate rises, at the start and whenever more of the model thaws."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW weight decay; not applied to biases, norms and the token embeddings, most of whose rows rest in most
    steps."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this global norm."""
    new_rows_only: Share = 0.0
    """Share of the steps, from the first, that train the grafted embedding rows alone."""
    embeddings_only: Share = 0.0
    """Share of the steps after those that train the embedding table alone."""
    dropout: bool = False
    """Train with the dropout that the model's own configuration names. The stored vectors were made without, and
    without it the student starts where the teacher stands."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` computes under autocast; weights and optimiser stay in float32."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens at which a training text is cut; `null` takes the model's own limit."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    validate_every: Annotated[int, Field(ge=1)] = 100
    """Steps between two looks at the validation split."""
    validation_passages: Annotated[int, Field(ge=1)] | None = 1_000
    """Passages of each language in a look, the first of its validation split; `null` takes all of them."""
    validation_sts: StsPairs | None = None
    """Sentence pairs with human scores: whenever the validation split is looked at, so is Spearman's correlation on these,
    times 100."""
    keep: Literal["loss", "cosine", "sts", "last"] = "loss"
    """Which weights become the student: those of the validation with the lowest loss, with the highest mean cosine to the
    teacher or with the highest correlation on `validation_sts`, or the last."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Validations without a better value of what `keep` names after which training stops; `null` never stops early."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 200
    """Steps between two checkpoints; an interrupted run goes on from the last."""
    tensorboard: bool = False
    """Also write the metrics for TensorBoard, beside the checkpoints (needs the package `tensorboard`)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.keep == "last" and self.patience is not None:
            raise ValueError("patience watches the validation that keep names; with keep: last it must be null")
        if self.keep == "sts" and self.validation_sts is None:
            raise ValueError("keep: sts needs validation_sts to say which sentence pairs are meant")
        if self.new_rows_only + self.embeddings_only > 1:
            raise ValueError("new_rows_only + embeddings_only exceed 1: no step would be left to train")
        return self


class AgreementTask(Section):
    """Cosine of each model's vectors to the teacher's stored ones, per language, on the test split."""

    kind: Literal["agreement"]


class FertilityTask(Section):
    """Tokens per word and characters per token of each model's tokenizer, per language, on the test split."""

    kind: Literal["fertility"]


class GeometryTask(Section):
    """Alignment (squared distance of each test passage to its aligned text) and uniformity of the vectors, per language."""

    kind: Literal["geometry"]


class SpeedTask(Section):
    """Passages and tokens encoded in a second: the median of three passes over test passages of all languages."""

    kind: Literal["speed"]
    passages: Annotated[int, Field(ge=1)] = 512
    """Passages, taken from all languages alike."""


class VectorTask(Section):
    """A task on vectors of texts."""

    truncate_dim: Annotated[int, Field(ge=1)] | None = None
    """Compare only so many of the vectors' first components, as users of a Matryoshka model do; `null` compares all."""


class BitextTask(VectorTask):
    """Finding the translation of a sentence: accuracy in both directions."""

    kind: Literal["bitext"]
    source: str
    """A language of the corpus (its test split's pairs are used), or a file with a sentence a line."""
    target: str | None = None
    """The file whose line i translates line i of `source`; `null` with a language: the aligned texts."""
    margin: bool = False
    """Score by ratio margin over 4 neighbours (Artetxe and Schwenk 2019) instead of cosine."""


class StsTask(StsPairs, VectorTask):
    """Semantic textual similarity: correlation of cosine with human scores, times 100."""

    kind: Literal["sts"]


class RetrievalTask(VectorTask):
    """Finding the documents that answer a query: nDCG@10. Files as BEIR lays them out."""

    kind: Literal["retrieval"]
    corpus: str
    """JSON Lines with `_id`, `text` and perhaps `title`."""
    queries: str
    """JSON Lines with `_id` and `text`."""
    qrels: str
    """TSV with the columns `query-id`, `corpus-id` and `score`."""
    query_prompt: str | None = None
    """Prompt before each query: a name of one of the model's prompts, or the prompt itself; `null` takes the
    teacher's."""
    document_prompt: str | None = None
    """The same for documents."""


class ClassificationTask(VectorTask):
    """Telling a text's class by logistic regression on frozen vectors: accuracy."""

    kind: Literal["classification"]
    train: str
    """A CSV, TSV, JSON Lines or Parquet file."""
    test: str
    """A file like it."""
    text: str | int = "text"
    """Name of the text's column; a number counts columns of a file without a header."""
    label: str | int = "label"
    """The label's column."""


class ClusteringTask(VectorTask):
    """Whether k-means finds again which texts belong together: v-measure."""

    kind: Literal["clustering"]
    path: str
    """A CSV, TSV, JSON Lines or Parquet file."""
    text: str | int = "text"
    """Name of the text's column; a number counts columns of a file without a header."""
    label: str | int = "label"
    """The label's column."""


class MtebTask(Section):
    """A task of the Massive Text Embedding Benchmark, by name (needs the package `mteb`)."""

    kind: Literal["mteb"]
    task: str
    """Its name in the package."""
    languages: tuple[str, ...] = ()
    """Languages (ISO 639-3) of a multilingual task; none named takes all."""


Task = Annotated[
    AgreementTask
    | FertilityTask
    | GeometryTask
    | SpeedTask
    | BitextTask
    | StsTask
    | RetrievalTask
    | ClassificationTask
    | ClusteringTask
    | MtebTask,
    Field(discriminator="kind"),
]


def parse_task(data: Mapping[str, Any]) -> Task:
    """An evaluation task from its plain data; inverse of ``model_dump``."""
    adapter: TypeAdapter[Task] = TypeAdapter(Task)
    return adapter.validate_python(data)


#: Ready groups of MTEB tasks: names in the package `mteb`, and whether a task has other languages to leave out.
TASK_GROUPS: Mapping[str, Mapping[str, bool]] = {
    "turkish": {
        "BelebeleRetrieval": True,
        "FloresBitextMining": True,
        "MKQARetrieval": True,
        "MassiveIntentClassification": True,
        "MassiveScenarioClassification": True,
        "SIB200Classification.v3": True,
        "SIB200ClusteringS2S": True,
        "STS17": True,
        "STS22.v2": True,
        "Tatoeba": True,
        "TurHistQuadRetrieval": False,
        "TurkishConstitutionalCourtViolation": False,
        "TurkishMovieSentimentClassification.v2": False,
        "TurkishProductSentimentClassification.v2": False,
        "TurkishRAGEvalRetrieval": False,
        "WebFAQRetrieval": True,
        "XNLI": True,
        "XQuADRetrieval": True,
    }
}
_GROUP_LANGUAGES = {"turkish": ("tur",)}


def grouped_tasks(group: str) -> dict[str, dict[str, Any]]:
    """The tasks of a ready group, by the names under which they are shown."""
    return {
        f"mteb-{task.replace('.', '-')}": {
            "kind": "mteb",
            "task": task,
            "languages": _GROUP_LANGUAGES[group] if multilingual else (),
        }
        for task, multilingual in TASK_GROUPS[group].items()
    }


class EvaluationSettings(Section):
    """What teacher, clone and student are compared on."""

    groups: tuple[Literal["turkish"], ...] = ()
    """Ready groups of tasks that are added to `tasks`. `turkish`: the text tasks of the package `mteb` that have Turkish
    (needs that package)."""
    tasks: dict[Name, Task] = {
        "agreement": AgreementTask(kind="agreement"),
        "fertility": FertilityTask(kind="fertility"),
    }
    """Tasks by name."""
    bootstrap: Annotated[int, Field(ge=0)] = 1_000
    """Resamples behind each 95 % confidence interval."""

    @model_validator(mode="before")
    @classmethod
    def _with_groups(cls, data: Any) -> Any:
        """Add the tasks of the groups; one of the same name that the user describes goes before."""
        if not isinstance(data, Mapping) or not data.get("groups"):
            return data
        named = [group for group in data["groups"] if group in TASK_GROUPS]
        added = {name: task for group in named for name, task in grouped_tasks(group).items()}
        own = data.get("tasks", cls.model_fields["tasks"].default)
        return {**data, "tasks": {**added, **own}} if isinstance(own, Mapping) else data


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


@dataclass(frozen=True)
class TaskNeeds:
    """What an evaluation task looks at.

    Attributes:
        languages: languages whose corpus it reads.
        files: the user's own files that it reads.
        vectors: whether it reads the teacher's stored vectors of those languages' test splits.
    """

    languages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    vectors: bool = False


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
    evaluation: EvaluationSettings = EvaluationSettings()
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
        for name, task in self.evaluation.tasks.items():
            if isinstance(task, BitextTask) and task.target is None and task.source not in self.corpus.languages:
                raise ValueError(
                    f"evaluation.tasks.{name}.source: {task.source!r} is not one of corpus.languages "
                    f"{sorted(self.corpus.languages)}; a file needs a target"
                )
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
        """What an evaluation task looks at."""
        task = self.evaluation.tasks[name]
        match task:
            case AgreementTask():
                return TaskNeeds(tuple(sorted(self.corpus.languages)), vectors=True)
            case FertilityTask() | GeometryTask() | SpeedTask():
                return TaskNeeds(tuple(sorted(self.corpus.languages)))
            case BitextTask(target=None):
                return TaskNeeds((task.source,))
            case BitextTask():
                return TaskNeeds(files=(task.source, str(task.target)))
            case StsTask(path=str(path)):
                return TaskNeeds(files=(path,))
            case RetrievalTask():
                return TaskNeeds(files=(task.corpus, task.queries, task.qrels))
            case ClassificationTask():
                return TaskNeeds(files=(task.train, task.test))
            case ClusteringTask():
                return TaskNeeds(files=(task.path,))
        return TaskNeeds()

    def variant(self, name: str) -> Variant:
        """A variant's complete sections: the top-level ones with its overrides."""
        return Variant.model_validate(self._merged(name))

    def _merged(self, name: str) -> dict[str, Any]:
        overrides = self.variants[name]
        return {
            section: _merge(getattr(self, section).model_dump(), getattr(overrides, section))
            for section in Variant.model_fields
        }


def explain_invalid(config: Mapping[str, Any], error: Exception) -> str:
    """One message for a configuration that the schema refused: each key, its value and what is allowed.

    Args:
        config: the configuration as the user wrote it.
        error: what Snakemake's ``validate`` raised; shown as it is when the models find nothing wrong.
    """
    try:
        load_settings(config)
    except ConfigError as better:
        return str(better)
    return str(error)


def refuse_repeated_keys(file: Path) -> None:
    """Refuse a configuration file in which a key stands twice: YAML's reader would take the last and say nothing.

    Raises:
        ConfigError: names the key and the line of each place.
    """
    try:
        waiting: list[tuple[yaml.Node | None, tuple[str, ...]]] = [(yaml.compose(file.read_text(encoding="utf-8")), ())]
    except yaml.YAMLError:
        return  # JSON, which Snakemake takes too, is not always YAML
    while waiting:
        node, place = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, place) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                where = ".".join((*place, name))
                raise ConfigError(
                    where, f"stands twice in {file}, in lines {lines[name]} and {line}; leave one of them out"
                )
            lines[name] = line
            waiting.append((value, (*place, name)))


def refuse_unwritable(root: Path) -> None:
    """Refuse a place for results where nothing can be written.

    Raises:
        ConfigError: names the folder or file that is in the way.
    """
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "you may not write there" if there.is_dir() else "it is a file"
        raise ConfigError("results", f"{root} cannot be made in {there}: {reason}; name another folder")


def load_settings(config: Mapping[str, Any]) -> Settings:
    """Turn a configuration that has passed the schema into :class:`Settings`.

    Raises:
        ConfigError: names each offending key, its value and what is allowed.
    """
    settings = _validated(Settings, config)
    for name in settings.variants:
        _validated(Variant, settings._merged(name), "variants", name)
    return settings


def _validated(model: type[SectionT], data: Any, *place: str) -> SectionT:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in (*place, *first["loc"])) or "(whole)"
        more = f" ({error.error_count() - 1} more problems after this one)" if error.error_count() > 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(key, f"{message}; found {_shown(first['input'])}{more}") from error


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the configuration, as ``config/schema.yaml`` holds it."""
    schema = Settings.model_json_schema()
    definitions = schema["$defs"]
    for section in Variant.model_fields:
        model = Settings.model_fields[section].annotation
        assert isinstance(model, type)
        override = _without_defaults(definitions[model.__name__])
        definitions[f"{model.__name__}Override"] = override
        definitions["VariantOverrides"]["properties"][section] = {
            "$ref": f"#/$defs/{model.__name__}Override",
            "description": definitions["VariantOverrides"]["properties"][section]["description"],
        }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidy(schema)}


def _tidy(node: Any) -> Any:
    """Drop what pydantic adds for itself, put descriptions on one line, and close mappings whose keys are patterned."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidy(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    tidy.pop("discriminator", None)
    if isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(tidy["description"].split())
    if "patternProperties" in tidy:
        tidy["additionalProperties"] = False
    return tidy


def _without_defaults(definition: Mapping[str, Any]) -> dict[str, Any]:
    override = copy.deepcopy(dict(definition))
    override.pop("required", None)
    for value in override["properties"].values():
        value.pop("default", None)
    return override


def _merge(base: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
