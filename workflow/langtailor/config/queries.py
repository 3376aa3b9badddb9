"""Settings of the queries and documents that `retrieval` trains on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, Strict

from langtailor.config.base import DATASET_PATTERN, Name, Section, UserPath, distinct

#: The files of a folder in the layout of BEIR.
BEIR_FILES = ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv")


class HubPairs(Section):
    """Queries with documents in a data set of the Hub, one pair in a row."""

    dataset: Annotated[str, Field(pattern=DATASET_PATTERN)]
    """The data set, `owner/name`."""
    subset: str | None = None
    """Its configuration, if it has several."""
    split: str = "train"
    """Its split, or a part of it in the notation of the package `datasets`."""
    revision: str = "main"
    """Branch, tag or commit."""
    columns: Annotated[tuple[str, str], Strict(False), AfterValidator(distinct)] | None = None
    """Names of the columns of query and document; `null` uses `queries.columns`."""


class QuerySettings(Section):
    """Queries and the documents that answer them, for variants with `retrieval`."""

    pairs: dict[Name, UserPath | HubPairs] = {}
    """For each language, queries with the documents that answer them: a CSV, TSV, JSON Lines or Parquet file, a JSON
    file in the layout of SQuAD, a folder in the layout of BEIR with `corpus.jsonl`, `queries.jsonl` and
    `qrels/train.tsv`, or a data set of the Hub (`{dataset: owner/name}`)."""
    columns: Annotated[tuple[str | int, str | int], Strict(False), AfterValidator(distinct)] = ("query", "document")
    """Names of the columns of query and document in a file of pairs; numbers count columns of a file without a header."""
    negatives: str | None = None
    """Column with a document that does not answer the query, or (JSON Lines, Parquet, Hub) with a list of them; sources
    may lack it."""
    made: Annotated[int, Field(ge=0)] = 2_000
    """For each language without `pairs`: number of corpus passages used as documents; one sentence or span of each
    becomes its query. 0 leaves these languages out."""
    query_prompt: str | None = None
    """Prompt for queries: the name of one of the teacher's prompts, or the prompt itself; `null` uses the teacher's own
    prompt for queries, or `teacher.prompt` if it has none for queries or documents."""
    document_prompt: str | None = None
    """The same for documents."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the documents, with their queries, used to validate the training."""
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] | None = 0.8
    """Queries and documents whose estimated Jaccard similarity (5-character shingles) to a text of an evaluation task,
    or to an earlier query or document, is at least this are dropped; `null` drops exact duplicates only."""
    candidates: Annotated[int, Field(ge=2)] = 16
    """Number of documents ranked for a query, and of queries for a document: the right one and the most similar others,
    by the teacher's vectors."""
    most_similar: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Other candidates above this share of the right one's similarity are left out, because they may be right, too (the
    threshold of NV-Retriever, Moreira et al. 2024, arXiv 2407.15831)."""

    def files(self, lang: str) -> tuple[str, ...]:
        """The user's own files with the pairs of a language."""
        path = self.pairs.get(lang)
        if not isinstance(path, str):
            return ()
        return tuple(str(Path(path, name)) for name in BEIR_FILES) if Path(path).is_dir() else (path,)
