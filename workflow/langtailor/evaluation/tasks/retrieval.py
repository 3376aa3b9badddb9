"""Finding the documents that answer a query."""

from __future__ import annotations

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
from langtailor.sources.table_files import read_frame

_DEPTH = 10
_QUERIES_AT_ONCE, _DOCUMENTS_AT_ONCE = 256, 65_536
_GROUP = "all queries"


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
        return TaskNeeds(files=(self.corpus, self.queries, self.qrels))

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

    Queries without a relevant document are left out.

    Raises:
        SourceError: a file cannot be read, an id is unknown or stands twice, or nothing is judged.
    """
    documents, queries = _texts(Path(task.corpus)), _texts(Path(task.queries))
    rows = {name: row for row, name in enumerate(documents)}
    found: dict[str, dict[int, float]] = {}
    judged = read_frame(Path(task.qrels), ("query-id", "corpus-id", "score"))
    for line, (query, document, gain) in enumerate(judged.itertuples(index=False), start=2):
        place = f"{task.qrels}: line {line}"
        if query not in queries or document not in rows:
            raise SourceError(f"{place}: query {query!r} or document {document!r} is in neither of the other files")
        try:
            value = float(gain)
        except ValueError as error:
            raise SourceError(f"{place}: the score {gain!r} is no number") from error
        if value > 0:
            found.setdefault(query, {})[rows[document]] = value
    if not found:
        raise SourceError(f"{task.qrels}: judges no document relevant")
    return Judgements(tuple(queries[query] for query in found), tuple(documents.values()), tuple(found.values()))


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
        np.array([mine.get(row, 0.0) for row in rows.tolist()]) for mine, rows in zip(relevant, ranked, strict=True)
    ]
    ndcg = 100 * np.array([_dcg(got) / _dcg(_ideal(mine)) for got, mine in zip(gains, relevant, strict=True)])
    recall = 100 * np.array([(got > 0).sum() / len(mine) for got, mine in zip(gains, relevant, strict=True)])
    first = 100 * np.array([1 / (1 + int(np.argmax(got > 0))) if (got > 0).any() else 0.0 for got in gains])
    scores = (
        mean_score("ndcg@10", ndcg, resamples, seed, group=_GROUP),
        mean_score("recall@10", recall, resamples, seed),
        mean_score("mrr@10", first, resamples, seed),
    )
    return scores, {_GROUP: tuple(ndcg.tolist())}


def nearest(
    queries: NDArray[np.float32], keys: NDArray[np.float32], depth: int, similarity: Similarity = COSINE
) -> NDArray[np.int64]:
    """Rows of the most similar keys of each query, the most similar first, ties by row; int64, shape (q, depth).

    Exact; memory is that of one block of queries against one block of keys.
    """
    depth = min(depth, len(keys))
    found = np.empty((len(queries), depth), np.int64)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = queries[start : start + _QUERIES_AT_ONCE]
        rows, values = np.empty((len(part), 0), np.int64), np.empty((len(part), 0), np.float32)
        for first in range(0, len(keys), _DOCUMENTS_AT_ONCE):
            block = similarity.matrix(part, keys[first : first + _DOCUMENTS_AT_ONCE])
            values = np.concatenate([values, block], axis=1)
            here = np.broadcast_to(np.arange(first, first + block.shape[1]), block.shape)
            rows = np.concatenate([rows, here], axis=1)
            best = np.argsort(-values, axis=1, kind="stable")[:, :depth]
            rows, values = np.take_along_axis(rows, best, axis=1), np.take_along_axis(values, best, axis=1)
        found[start : start + len(part)] = rows
    return found


def _dcg(gains: Floats) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


def _ideal(relevant: Mapping[int, float]) -> Floats:
    return np.sort(np.array(list(relevant.values())))[::-1][:_DEPTH]


def _texts(path: Path) -> dict[str, str]:
    """Texts by ``_id``; a title stands before its text."""
    frame = read_frame(path, ("_id", "text"))
    titles = read_frame(path, ("title",))["title"] if _has_titles(path) else [""] * len(frame)
    texts = {
        str(name): f"{title} {text}".strip()
        for name, text, title in zip(frame["_id"], frame["text"], titles, strict=True)
    }
    if len(texts) != len(frame):
        raise SourceError(f"{path}: an `_id` stands twice")
    return texts


def _has_titles(path: Path) -> bool:
    with path.open(encoding="utf-8") as stream:
        return '"title"' in stream.readline()
