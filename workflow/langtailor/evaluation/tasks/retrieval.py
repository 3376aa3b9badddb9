"""Finding the documents that answer a query."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from langtailor.config.base import Name, UserPath, problem
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.index_file import read_index
from langtailor.evaluation.ranking import DEPTH, METRICS, ranking_figures
from langtailor.evaluation.scores import Floats, Score, mean_score
from langtailor.evaluation.task import Inputs, TaskResult, VectorTask, rounded
from langtailor.evaluation.text_vectors import TextVectors
from langtailor.models.nearest import nearest_rows
from langtailor.models.prompts import Role
from langtailor.models.similarity import COSINE, Similarity, unit
from langtailor.sources.collection import Collection, documents_in, pair_group, queries_in, read_beir, read_squad

_ALL_QUERIES, _ALL_PAIRS, _WITHIN, _ACROSS = "all queries", "all pairs", "within a language", "across languages"
#: Documents of an index that the teacher also encodes, and the mean cosine from which the vectors count as the same.
_CHECKED, _SAME = 32, 0.99
_LOG = logging.getLogger("langtailor")
_TO_TEACHER = "queries by the model, documents by the teacher"
_FROM_TEACHER = "queries by the teacher, documents by the model"
#: By asymmetric group, that of what it gains over queries and documents by the model.
_GAINS = {_TO_TEACHER: "by the teacher's documents", _FROM_TEACHER: "by the teacher's queries"}
#: float32, shape (texts, d), by the names of :attr:`Collection.texts`.
Vectors = Mapping[str, NDArray[np.float32]]


@task_kind
class RetrievalTask(VectorTask):
    """Finding the documents that answer a query: nDCG@10. Files in the layout of SQuAD or of BEIR."""

    kind: Literal["retrieval"]
    squad: Annotated[dict[Name, UserPath], Field(default={})]
    """For each language, a JSON file in the layout of SQuAD: paragraphs are documents, and each question is a query
    that its paragraph answers. With several languages, whose questions share their `id`, every pair of languages is
    measured."""
    corpus: UserPath | None = None
    """With `queries` and `qrels`, instead of `squad`: documents in the layout of BEIR, JSON Lines with `_id`, `text`
    and optionally `title`."""
    queries: UserPath | None = None
    """JSON Lines with `_id` and `text`."""
    qrels: UserPath | None = None
    """TSV with the columns `query-id`, `corpus-id` and `score`."""
    query_prompt: str | None = None
    """Prompt for queries: the name of one of the model's prompts, or the prompt itself; `null` uses the model's own
    prompt for queries, or the teacher's prompt if the model has none for queries or documents."""
    document_prompt: str | None = None
    """The same for documents."""
    asymmetric: bool = False
    """Also measure the model's queries against the teacher's documents, and the teacher's queries against the model's
    documents."""
    teacher_index: UserPath | None = None
    """With `asymmetric` and `corpus`: your own index of the teacher's document vectors, used instead of computing them.
    A Parquet file with the columns `_id` and `vector`, or a `.npy` file with one row per line of `corpus`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        beir = [path is not None for path in (self.corpus, self.queries, self.qrels)]
        if any(beir) == bool(self.squad) or any(beir) != all(beir):
            raise problem("squad", "give either `squad`, or `corpus`, `queries` and `qrels`")
        if self.teacher_index and not (self.asymmetric and self.corpus):
            raise problem("teacher_index", "needs `asymmetric: true`, and `corpus`, whose documents have ids")
        return self

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        named = (*self.squad.values(), self.corpus, self.queries, self.qrels, self.teacher_index)
        files = tuple(path for path in named if path is not None)
        prompts = tuple(prompt for prompt in (self.query_prompt, self.document_prompt) if prompt is not None)
        return TaskNeeds(files=files, prompts=prompts, teacher=self.asymmetric)

    def texts_only(self) -> Self:
        return self.only("squad", "corpus", "queries", "qrels")

    def texts(self) -> Iterable[str]:
        return chain.from_iterable(self._collection().texts.values())

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        collection = self._collection()
        vectors = self._vectors(evaluator, collection, is_teacher=inputs.teacher is None)
        groups = _grouped(pair_figures(vectors, vectors, collection, evaluator.similarity))
        if not self.asymmetric:
            return TaskResult(*retrieval_scores(groups, evaluator.resamples, evaluator.seed))
        left = TextVectors.of(collection.texts, vectors) if inputs.teacher is None else None
        teacher = _teacher_vectors(inputs, collection) if left is None else vectors
        for group, queries, documents in ((_TO_TEACHER, vectors, teacher), (_FROM_TEACHER, teacher, vectors)):
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

    def _vectors(
        self, evaluator: Evaluator, collection: Collection, *, is_teacher: bool
    ) -> dict[str, NDArray[np.float32]]:
        asking, answering = (self._prompt(evaluator, role) for role in ("query", "document"))
        vectors = {
            queries_in(lang): self.encode(evaluator, texts, f"encoding {queries_in(lang)}", asking)
            for lang, texts in collection.queries.items()
        }
        for lang, texts in collection.documents.items():
            name = documents_in(lang)
            if is_teacher and self.teacher_index is not None:
                vectors[name] = self._indexed(evaluator, Path(self.teacher_index), collection.ids, texts, answering)
            else:
                vectors[name] = self.encode(evaluator, texts, f"encoding {name}", answering)
        return vectors

    def _indexed(
        self, evaluator: Evaluator, index: Path, ids: Sequence[str], texts: Sequence[str], prompt: str | None
    ) -> NDArray[np.float32]:
        """The documents' vectors of the user's index, some of which are compared with the teacher's."""
        vectors = evaluator.prepared(read_index(index, ids, evaluator.dimension), self.truncate_dim)
        read = self.encode(evaluator, texts[:_CHECKED], "encoding some documents", prompt)
        cosine = float(COSINE.pairs(unit(vectors[:_CHECKED]), unit(read)).mean())
        if cosine < _SAME:
            _LOG.warning(
                "%s: its vectors have a mean cosine of %.3f to the teacher's of the same documents; was it made by this "
                "model, with this prompt, from these texts?",
                *(index, cosine),
            )
        return vectors

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
            nearest_rows(queries[queries_in(asking)], documents[documents_in(answering)], DEPTH, similarity),
            relevant,
        )
        for asking in collection.queries
        for answering, relevant in collection.relevant.items()
    }


def _grouped(figures: Mapping[tuple[str, str], Floats]) -> dict[str, Floats]:
    """Figures by group, the main one first: the only one, or means over languages before those of each pair."""
    if len(figures) == 1:
        return {_ALL_QUERIES: next(iter(figures.values()))}
    within = {pair: values for pair, values in figures.items() if pair[0] == pair[1]}
    across = {pair: values for pair, values in figures.items() if pair not in within}
    means = {_ALL_PAIRS: _mean(figures), _WITHIN: _mean(within), _ACROSS: _mean(across)}
    return means | {pair_group(*pair): values for pair, values in figures.items()}


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
