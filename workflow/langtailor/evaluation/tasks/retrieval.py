"""Finding the documents that answer a query."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from langtailor.config.base import UserPath
from langtailor.config.evaluation import TaskNeeds, task_kind
from langtailor.errors import SourceError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.scores import Floats, Score, mean_score
from langtailor.evaluation.task import Inputs, TaskResult, VectorTask
from langtailor.models.similarity import COSINE, Similarity
from langtailor.sources.table_files import read_table

_DEPTH = 10
_QUERIES_AT_ONCE, _DOCUMENTS_AT_ONCE = 256, 65_536
_GROUP = "all queries"
_LOG = logging.getLogger("langtailor")


@task_kind
class RetrievalTask(VectorTask):
    """Finding the documents that answer a query: nDCG@10. Files as BEIR lays them out."""

    kind: Literal["retrieval"]
    corpus: UserPath
    """JSON Lines with `_id`, `text` and perhaps `title`."""
    queries: UserPath
    """JSON Lines with `_id` and `text`."""
    qrels: UserPath
    """TSV with the columns `query-id`, `corpus-id` and `score`."""
    query_prompt: str | None = None
    """Prompt before each query: a name of one of the model's prompts, or the prompt itself; `null` takes the
    teacher's."""
    document_prompt: str | None = None
    """The same for documents."""

    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        prompts = tuple(prompt for prompt in (self.query_prompt, self.document_prompt) if prompt is not None)
        return TaskNeeds(files=(self.corpus, self.queries, self.qrels), prompts=prompts)

    def evaluate(self, evaluator: Evaluator, inputs: Inputs) -> TaskResult:
        judgements = read_judgements(self)
        queries = self.encode(evaluator, judgements.queries, "encoding queries", self.query_prompt)
        documents = self.encode(evaluator, judgements.documents, "encoding documents", self.document_prompt)
        ranked = nearest(queries, documents, _DEPTH, evaluator.similarity)
        return TaskResult(*retrieval_scores(ranked, judgements.relevant, evaluator.resamples, evaluator.seed))


@dataclass(frozen=True)
class Judgements:
    """Queries, documents, and which answer which.

    Attributes:
        queries: texts.
        documents: texts.
        relevant: by query, the gain of each relevant document by its row.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    relevant: tuple[Mapping[int, float], ...]


def read_judgements(task: RetrievalTask) -> Judgements:
    """Read a task's files, laid out as BEIR's (https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset).

    Queries without a relevant document are left out. So is, with a warning, a judgement of a query or a document that
    the other files do not have.

    Raises:
        SourceError: a file cannot be read, a value is missing, an id stands twice, or nothing is judged relevant.
    """
    documents, queries = _texts(Path(task.corpus), may_be_blank=True), _texts(Path(task.queries))
    rows = {name: row for row, name in enumerate(documents)}
    judged = read_table(Path(task.qrels), ("query-id", "corpus-id", "score"))
    relevant: dict[str, dict[int, float]] = {}
    unknown = []
    judgements = zip(judged.texts("query-id"), judged.texts("corpus-id"), judged.floats("score"), strict=True)
    for row, (query, document, gain) in enumerate(judgements):
        if query not in queries or document not in rows:
            unknown.append(f"{judged.place(row)}: query {query!r}, document {document!r}")
        elif gain > 0:
            relevant.setdefault(query, {})[rows[document]] = gain
    if unknown:
        _LOG.warning(
            "%d of %d judgements are left out, as the other files have no such query or document; the first is %s",
            len(unknown),
            len(judged),
            unknown[0],
        )
    if not relevant:
        raise SourceError(f"{task.qrels}: judges no document relevant")
    return Judgements(tuple(queries[query] for query in relevant), tuple(documents.values()), tuple(relevant.values()))


def retrieval_scores(
    ranked: NDArray[np.int64],
    relevant: Sequence[Mapping[int, float]],
    resamples: int,
    seed: int,
) -> tuple[tuple[Score, ...], dict[str, tuple[float, ...]]]:
    """nDCG, recall and reciprocal rank of the ten nearest documents, times 100.

    ``nDCG@10 = DCG / ideal DCG`` with ``DCG = Σ gain(i) / log₂(i + 1)`` over ranks ``i`` (Järvelin and Kekäläinen 2002).

    Args:
        ranked: int64, shape (q, 10 at most): by query, rows of the nearest documents, the nearest first.
        relevant: by query, gains by document row.
        resamples: bootstrap resamples.
        seed: seeds the bootstrap.

    Returns:
        Scores, nDCG first, and the nDCG of each query.
    """
    gains = [
        np.array([judged.get(row, 0.0) for row in rows.tolist()]) for judged, rows in zip(relevant, ranked, strict=True)
    ]
    pairs = list(zip(gains, relevant, strict=True))
    ndcg = 100 * np.array([_dcg(gain) / _dcg(_ideal(judged)) for gain, judged in pairs])
    recall = 100 * np.array([(gain > 0).sum() / len(judged) for gain, judged in pairs])
    reciprocal_rank = 100 * np.array(
        [1 / (1 + int(np.argmax(gain > 0))) if (gain > 0).any() else 0.0 for gain in gains]
    )
    scores = (
        mean_score("ndcg@10", ndcg, resamples, seed, group=_GROUP),
        mean_score("recall@10", recall, resamples, seed),
        mean_score("mrr@10", reciprocal_rank, resamples, seed),
    )
    return scores, {_GROUP: tuple(ndcg.tolist())}


def nearest(
    queries: NDArray[np.float32], keys: NDArray[np.float32], depth: int, similarity: Similarity = COSINE
) -> NDArray[np.int64]:
    """Rows of the most similar keys of each query, the most similar first, ties by row; int64, shape (q, depth).

    Exact; memory is that of one block of queries against one block of keys.
    """
    depth = min(depth, len(keys))
    ranked = np.empty((len(queries), depth), np.int64)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = queries[start : start + _QUERIES_AT_ONCE]
        rows, values = np.empty((len(part), 0), np.int64), np.empty((len(part), 0), np.float32)
        for first in range(0, len(keys), _DOCUMENTS_AT_ONCE):
            block = similarity.matrix(part, keys[first : first + _DOCUMENTS_AT_ONCE])
            values = np.concatenate([values, block], axis=1)
            block_rows = np.broadcast_to(np.arange(first, first + block.shape[1]), block.shape)
            rows = np.concatenate([rows, block_rows], axis=1)
            best = np.argsort(-values, axis=1, kind="stable")[:, :depth]
            rows, values = np.take_along_axis(rows, best, axis=1), np.take_along_axis(values, best, axis=1)
        ranked[start : start + len(part)] = rows
    return ranked


def _dcg(gains: Floats) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


def _ideal(relevant: Mapping[int, float]) -> Floats:
    return np.sort(np.array(list(relevant.values())))[::-1][:_DEPTH]


def _texts(path: Path, *, may_be_blank: bool = False) -> dict[str, str]:
    """Texts by ``_id``; a title, where a line has one, stands before its text."""
    table = read_table(path, ("_id", "text"), optional=("title",))
    texts: dict[str, str] = {}
    ids, bodies, titles = table.texts("_id"), table.texts("text", may_be_blank=may_be_blank), table.columns["title"]
    for row, (name, text, title) in enumerate(zip(ids, bodies, titles, strict=True)):
        if name in texts:
            raise SourceError(f"{table.place(row)}: the `_id` {name!r} stands twice")
        texts[name] = f"{'' if title is None else title} {text}".strip()
    return texts
