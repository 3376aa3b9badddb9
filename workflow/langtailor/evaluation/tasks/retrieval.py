"""Finding the documents that answer a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from langtailor.config.base import Name, UserPath, problem
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.evaluation.collection import Collection, documents_in, pair_group, queries_in, read_beir, read_squad
from langtailor.evaluation.evaluator import Evaluator, Role
from langtailor.evaluation.ranking import DEPTH, METRICS, nearest, ranking_figures
from langtailor.evaluation.scores import Floats, Score, mean_score
from langtailor.evaluation.task import Inputs, TaskResult, VectorTask, rounded
from langtailor.evaluation.text_vectors import TextVectors
from langtailor.models.similarity import Similarity

_ALL_QUERIES, _ALL_PAIRS, _WITHIN, _ACROSS = "all queries", "all pairs", "within a language", "across languages"
_TO_TEACHER = "queries by the model, documents by the teacher"
_FROM_TEACHER = "queries by the teacher, documents by the model"
#: By asymmetric group, that of what it gains over queries and documents by the model.
_GAINS = {_TO_TEACHER: "by the teacher's documents", _FROM_TEACHER: "by the teacher's queries"}
#: float32, shape (texts, d), by the names of :attr:`Collection.texts`.
Vectors = Mapping[str, NDArray[np.float32]]


@task_kind
class RetrievalTask(VectorTask):
    """Finding the documents that answer a query: nDCG@10. Files as SQuAD or as BEIR lays them out."""

    kind: Literal["retrieval"]
    squad: Annotated[dict[Name, UserPath], Field(default={})]
    """A JSON file as SQuAD's, by language: paragraphs are documents, and each question is a query that its paragraph
    answers. Of several languages, whose questions have the same `id`, every pair is measured."""
    corpus: UserPath | None = None
    """Instead of `squad`, with `queries` and `qrels`, as BEIR has them: JSON Lines with `_id`, `text` and perhaps
    `title`."""
    queries: UserPath | None = None
    """JSON Lines with `_id` and `text`."""
    qrels: UserPath | None = None
    """TSV with the columns `query-id`, `corpus-id` and `score`."""
    query_prompt: str | None = None
    """Prompt before each query: a name of one of the model's prompts, or the prompt itself; `null` takes the model's own
    for queries, or the teacher's prompt where the model has none for queries or documents."""
    document_prompt: str | None = None
    """The same for documents."""
    asymmetric: bool = False
    """Measure the model's queries against the teacher's documents, too, and the teacher's queries against the model's
    documents."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        beir = [path is not None for path in (self.corpus, self.queries, self.qrels)]
        if any(beir) == bool(self.squad) or any(beir) != all(beir):
            raise problem("squad", "give either `squad`, or `corpus`, `queries` and `qrels`")
        return self

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        files = tuple(
            path for path in (*self.squad.values(), self.corpus, self.queries, self.qrels) if path is not None
        )
        prompts = tuple(prompt for prompt in (self.query_prompt, self.document_prompt) if prompt is not None)
        return TaskNeeds(files=files, prompts=prompts, teacher=self.asymmetric)

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        collection = self._collection()
        own = self._vectors(evaluator, collection)
        groups = _grouped(pair_figures(own, own, collection, evaluator.similarity))
        if not self.asymmetric:
            return TaskResult(*retrieval_scores(groups, evaluator.resamples, evaluator.seed))
        left = TextVectors.of(collection.texts, own) if inputs.teacher is None else None
        teacher = _teacher_vectors(inputs, collection) if left is None else own
        for group, queries, documents in ((_TO_TEACHER, own, teacher), (_FROM_TEACHER, teacher, own)):
            groups[group] = _mean(pair_figures(queries, documents, collection, evaluator.similarity))
        return TaskResult(*retrieval_scores(groups, evaluator.resamples, evaluator.seed), vectors=left)

    def _collection(self) -> Collection:
        """The task's texts and what answers what.

        Raises:
            SourceError: a file cannot be used.
        """
        if self.corpus is None or self.queries is None or self.qrels is None:
            return read_squad({lang: Path(path) for lang, path in self.squad.items()})
        return read_beir(Path(self.corpus), Path(self.queries), Path(self.qrels))

    def _vectors(self, evaluator: Evaluator, collection: Collection) -> dict[str, NDArray[np.float32]]:
        prompts = {queries_in(lang): self._prompt(evaluator, "query") for lang in collection.queries}
        prompts |= {documents_in(lang): self._prompt(evaluator, "document") for lang in collection.documents}
        return {
            name: self.encode(evaluator, texts, f"encoding {name}", prompts[name])
            for name, texts in collection.texts.items()
        }

    def _prompt(self, evaluator: Evaluator, role: Role) -> str | None:
        asked = self.query_prompt if role == "query" else self.document_prompt
        return evaluator.role_prompt(role) if asked is None else asked


def _teacher_vectors(inputs: Inputs, collection: Collection) -> Vectors:
    (file,) = (inputs.teacher or {}).values()
    return TextVectors.read(file, collection.texts).vectors


def pair_figures(
    queries: Vectors, documents: Vectors, collection: Collection, similarity: Similarity
) -> dict[tuple[str, str], Floats]:
    """Figures of each query for every language of the queries and of the documents.

    Args:
        queries: vectors of which those of the queries are taken, prepared for the similarity.
        documents: vectors of which those of the documents are taken, likewise.
        collection: the texts, and what answers what.
        similarity: how vectors are compared.

    Returns:
        By language of the queries and of the documents, what
        :func:`~langtailor.evaluation.ranking.ranking_figures` gives.
    """
    return {
        (asking, answering): ranking_figures(
            nearest(queries[queries_in(asking)], documents[documents_in(answering)], DEPTH, similarity), relevant
        )
        for asking in collection.queries
        for answering, relevant in collection.relevant.items()
    }


def _grouped(figures: Mapping[tuple[str, str], Floats]) -> dict[str, Floats]:
    """Figures by group, the main one first: the only one, or means over languages before those of each pair."""
    if len(figures) == 1:
        return {_ALL_QUERIES: next(iter(figures.values()))}
    within = {pair: found for pair, found in figures.items() if pair[0] == pair[1]}
    across = {pair: found for pair, found in figures.items() if pair not in within}
    means = {_ALL_PAIRS: _mean(figures), _WITHIN: _mean(within), _ACROSS: _mean(across)}
    return means | {pair_group(*pair): found for pair, found in figures.items()}


def _mean(figures: Mapping[tuple[str, str], Floats]) -> Floats:
    return np.asarray(np.mean(list(figures.values()), axis=0))


def retrieval_scores(
    groups: Mapping[str, Floats], resamples: int, seed: int
) -> tuple[tuple[Score, ...], dict[str, tuple[float, ...]]]:
    """Means over queries, with intervals.

    Args:
        groups: float64, shape (3, q), by group, the main one first
            (:func:`~langtailor.evaluation.ranking.ranking_figures`).
        resamples: bootstrap resamples.
        seed: seeds the bootstrap.

    Returns:
        Scores: nDCG, recall and reciprocal rank of the main group, nDCG of the others, and what asymmetric ones gain over
        the main one. And the nDCG of each query by group.
    """
    ndcg = {group: figures[0] for group, figures in groups.items()}
    (main, figures), *_ = groups.items()
    scores = [
        mean_score(metric, values, resamples, seed, group=main if metric == METRICS[0] else None)
        for metric, values in zip(METRICS, figures, strict=True)
    ]
    scores += [mean_score(METRICS[0], ndcg[group], resamples, seed, group=group) for group in list(ndcg)[1:]]
    scores += [
        mean_score(f"{METRICS[0]} gained", ndcg[group] - ndcg[main], resamples, seed, group=gain)
        for group, gain in _GAINS.items()
        if group in ndcg
    ]
    return tuple(scores), {group: rounded(values) for group, values in ndcg.items()}
