"""Settings of the corpus: sources, languages, quotas, cleaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from langtailor.config.base import DATASET_PATTERN, Distinct, Name, PathTemplate, Section, Share, problem

#: Group of the figures over all languages together, so that no language can have this name.
ALL_LANGUAGES = "all"


class Quotas(Section):
    """Passages per split of one language."""

    train: Annotated[int, Field(ge=1)] = 10_000
    """Passages used for counting and training."""
    validation: Annotated[int, Field(ge=0)] = 1_000
    """Passages used to choose grafts and to validate the training."""
    test: Annotated[int, Field(ge=0)] = 1_000
    """Passages used only by the evaluation."""

    @property
    def total(self) -> int:
        """Passages over all splits."""
        return self.train + self.validation + self.test


class SampleSource(Section):
    """The parallel sample corpus that ships with langtailor."""

    kind: Literal["sample"]


class FilesSource(Section):
    """Local files: `.txt` (a passage per line), `.jsonl`, `.json`, `.csv`, `.tsv` (text, tab, aligned text), `.parquet`."""

    kind: Literal["files"]
    path: Annotated[PathTemplate, Field(min_length=1)]
    """A file or a folder of files, optionally compressed (`.gz`, `.bz2`, `.xz`, `.zst`); `{lang}` stands for the
    language. Relative to the working directory. A `.json` file holds one array of records, or one record per line like
    `.jsonl`; the first line of a `.csv` file names its columns."""
    text_field: str = "text"
    """Column (Parquet, CSV) or key (JSON) of the text; `translation.tr` is the field `tr` of the field `translation`."""
    pair_field: str | None = None
    """Column or key of the aligned text, if there is one."""
    pair_path: PathTemplate | None = None
    """For plain text: the file whose line i is aligned with line i of `path`."""
    id_field: str | None = None
    """Column or key of a stable document id; `null` numbers the documents."""


class VocabularySource(Section):
    """No text: words of the teacher's own vocabulary that a language's alphabet can write are used instead.

    They show which tokens a language may need but not how often, so that `vocabulary.size` has to be larger than with
    text, and scores on them say little.
    """

    kind: Literal["vocabulary"]
    letters: dict[Name, str] = {}
    """The lower-case letters of each language; `a-z` is a range, so that Turkish is `a-zçğıöşü`."""
    scripts: dict[Name, Distinct[str]] = {}
    """The scripts of each language, by the first word of their letters' Unicode names: `Cyrillic`, `Devanagari`,
    `CJK`."""


class HubSource(Section):
    """A data set of the Hub, stored as Parquet; the sample is spread over all of it."""

    kind: Literal["hub"]
    dataset: Annotated[str, Field(pattern=DATASET_PATTERN)]
    """`owner/name` of the data set."""
    revision: str = "main"
    """Branch, tag or commit; resolved once to a commit and recorded."""
    subset: str = "{lang}"
    """Configuration (subset) of the data set; `{lang}` stands for the language."""
    split: str = "train"
    """Split of the data set that is read."""
    text_field: str = "text"
    """Column of the text; `translation.tr` is the field `tr` of the column `translation`."""
    pair_field: str | None = None
    """Column of the aligned text, if there is one."""
    id_field: str | None = "id"
    """Column of a stable document id; `null` numbers the documents."""


def _known_kind(data: Any) -> Any:
    kinds = ("sample", "files", "hub", "vocabulary")
    if isinstance(data, Mapping) and data.get("kind") not in kinds:
        found = f"found {data['kind']!r}" if "kind" in data else "it is missing"
        raise problem("kind", f"{found}; the kinds of sources are {', '.join(kinds)}")
    return data


AnySource = SampleSource | FilesSource | HubSource | VocabularySource
Source = Annotated[AnySource, Field(discriminator="kind"), BeforeValidator(_known_kind)]


def parse_source(data: Mapping[str, Any]) -> AnySource:
    """A source from its plain data; inverse of ``model_dump``."""
    adapter: TypeAdapter[AnySource] = TypeAdapter(Source)
    return adapter.validate_python(data)


class LanguageSettings(Section):
    """One language of the corpus."""

    source: Name | None = None
    """Name of an entry in `corpus.sources`; may be left out if there is only one source."""
    name_in_source: str | None = None
    """What the source calls the language, if that differs."""
    quotas: Quotas | None = None
    """Passages per split; `null` uses `corpus.quotas`."""
    shard_passages: Annotated[int, Field(ge=1)] | None = None
    """Passages in one shard of teacher vectors; `null` uses `vectors.shard_passages`. If the language's passages are
    much longer than those of the others, a lower value gives shards of equal work."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the language's token counts when the vocabulary is chosen."""


class CleaningSettings(Section):
    """How text is cleaned before it becomes a passage."""

    min_characters: Annotated[int, Field(ge=1)] = 20
    """Shorter passages are dropped."""
    max_characters: Annotated[int, Field(ge=1)] = 100_000
    """Longer documents are truncated to this length."""
    min_letter_share: Share = 0.5
    """Passages with a smaller share of letters (and combining marks) are dropped: tables, lists of numbers."""
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] | None = 0.8
    """Passages whose estimated Jaccard similarity (5-character shingles) to an earlier one is at least this are
    dropped; `null` drops exact duplicates only."""


class ShortSettings(Section):
    """Short passages among the full-length ones."""

    share: Share = 0.0
    """Share of the documents that are chunked into short passages, so that students see both short and long text.
    Documents with an aligned text are never chunked this way."""
    tokens: Annotated[int, Field(ge=8)] = 64
    """Longest short passage in tokens of the teacher."""


class CorpusSettings(Section):
    """Where text comes from and how it is chunked."""

    sources: Annotated[dict[Name, Source], Field(min_length=1)] = {
        "wikipedia": HubSource(kind="hub", dataset="wikimedia/wikipedia", subset="20231101.{lang}")
    }
    """Sources by name."""
    languages: Annotated[dict[Name, LanguageSettings], Field(min_length=1)]
    """The languages that the student keeps."""
    quotas: Quotas = Quotas()
    """Passages per split, for each language without quotas of its own."""
    chunk_tokens: Annotated[int, Field(ge=8)] = 512
    """Longest passage in tokens of the teacher; longer documents are chunked at sentence or paragraph ends."""
    short: ShortSettings = ShortSettings()
    """Short passages among the full-length ones."""
    cleaning: CleaningSettings = CleaningSettings()
    """How text is cleaned before it becomes a passage."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.short.share and self.short.tokens >= self.chunk_tokens:
            raise problem(
                "short.tokens", f"found {self.short.tokens}; it must be less than chunk_tokens, {self.chunk_tokens}"
            )
        if ALL_LANGUAGES in self.languages:
            raise problem(
                f"languages.{ALL_LANGUAGES}",
                "a language cannot have this name, under which scores have the figures of all languages; take another one, and "
                f"`name_in_source: {ALL_LANGUAGES}` where the source calls it so",
            )
        return self
