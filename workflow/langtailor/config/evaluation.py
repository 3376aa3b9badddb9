"""Settings of the evaluation and its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from langtailor.config.base import Name, Section
from langtailor.config.sentence_pairs import StsPairs
from langtailor.config.task_groups import TASK_GROUPS, grouped_tasks


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
