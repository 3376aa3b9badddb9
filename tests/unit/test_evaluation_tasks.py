"""Retrieval, classification, clustering and MTEB: the figures of the libraries that people trust, and plain errors."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sklearn.linear_model import LogisticRegression

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError, SourceError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.ranking import ranking_figures
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks.classification import classification_scores
from langtailor.evaluation.tasks.clustering import ClusteringTask, clustering_scores
from langtailor.evaluation.tasks.mteb import MtebTask, mteb_scores, scores_of
from langtailor.evaluation.tasks.retrieval import RetrievalTask
from langtailor.models.loading import load_sentence_transformer
from langtailor.models.nearest import nearest_rows
from langtailor.models.similarity import unit
from langtailor.sources.collection import read_beir
from tests.models import make_tiny_bert_teacher
from tests.unit.surgery_teachers import TARGET, TEXTS

SETTINGS = {"resamples": 20, "seed": 1}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return make_tiny_bert_teacher(tmp_path_factory.mktemp("teacher") / "model")


@pytest.fixture
def files(tmp_path):
    documents = [*TEXTS, *TARGET]
    rng = np.random.default_rng(0)
    relevant = {f"q{i}": {f"d{row}" for row in rng.choice(len(documents), 1 + i % 4, replace=False)} for i in range(12)}
    queries = {name: " ".join(documents[int(d[1:])][:30] for d in sorted(found)) for name, found in relevant.items()}
    corpus = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(documents)]
    write_lines(tmp_path / "corpus.jsonl", map(json.dumps, corpus))
    write_lines(tmp_path / "queries.jsonl", (json.dumps({"_id": k, "text": v}) for k, v in queries.items()))
    lines = [f"{query}\t{document}\t1" for query, found in relevant.items() for document in sorted(found)]
    write_lines(tmp_path / "qrels.tsv", ["query-id\tcorpus-id\tscore", *lines])
    names = {key: str(tmp_path / name) for key, name in (("corpus", "corpus.jsonl"), ("queries", "queries.jsonl"))}
    return RetrievalTask(kind="retrieval", qrels=str(tmp_path / "qrels.tsv"), **names), queries, documents, relevant


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def trusted_figures(teacher, files, **options):
    _, queries, documents, relevant = files
    names = {f"d{i}": text for i, text in enumerate(documents)}
    evaluator = InformationRetrievalEvaluator(queries, names, relevant, write_csv=False, **options)
    return evaluator(load_sentence_transformer(teacher, "cpu"))


def test_retrieval_gives_the_figures_of_sentence_transformers(teacher, files):
    task, expected = files[0], trusted_figures(teacher, files)
    evaluator = Evaluator(teacher, TeacherSettings(model=str(teacher)), **SETTINGS, device="cpu")
    result = task.evaluate(evaluator, Inputs())
    found = {score.metric: score.value for score in result.scores}
    assert found["ndcg@10"] == pytest.approx(100 * expected["cosine_ndcg@10"], abs=1e-3)
    assert found["recall@10"] == pytest.approx(100 * expected["cosine_recall@10"], abs=1e-3)
    assert found["mrr@10"] == pytest.approx(100 * expected["cosine_mrr@10"], abs=1e-3)
    assert np.mean(result.items["all queries"]) == pytest.approx(found["ndcg@10"], abs=1e-3)


def test_truncated_vectors_give_the_figures_of_sentence_transformers(teacher, files):
    task, expected = files[0], trusted_figures(teacher, files, truncate_dim=4)
    evaluator = Evaluator(teacher, TeacherSettings(model=str(teacher)), **SETTINGS, device="cpu")
    whole, truncated, wide = (task.model_copy(update={"truncate_dim": width}) for width in (None, 4, 999))
    score = truncated.evaluate(evaluator, Inputs()).scores[0]
    assert score.value == pytest.approx(100 * expected["cosine_ndcg@10"], abs=1e-3)
    assert score.value != whole.evaluate(evaluator, Inputs()).scores[0].value
    with pytest.raises(ConfigError, match="truncate_dim 999 is more than the 32 dimensions"):
        wide.evaluate(evaluator, Inputs())


def test_graded_gains_follow_the_formula():
    vectors = np.eye(4, dtype=np.float32)
    query = unit(np.array([[4, 3, 2, 1]], np.float32))
    figures = ranking_figures(nearest_rows(query, vectors, 10), [{0: 1.0, 2: 3.0}])
    expected = (1 / np.log2(2) + 3 / np.log2(4)) / (3 / np.log2(2) + 1 / np.log2(3))
    assert figures[0, 0] == pytest.approx(100 * expected)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    queries, keys = rng.standard_normal((7, 5)).astype(np.float32), rng.standard_normal((40, 5)).astype(np.float32)
    whole = np.argsort(-(queries @ keys.T), axis=1, kind="stable")[:, :6]
    monkeypatch.setattr("langtailor.models.nearest._KEYS_AT_ONCE", 9)
    monkeypatch.setattr("langtailor.models.nearest.QUERIES_AT_ONCE", 2)
    assert np.array_equal(nearest_rows(queries, keys, 6), whole)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q0\tnowhere\t1", "judges no document relevant"),
        ("q0\td1\tmuch", "line 2: 'score' is 'much', which is not a number"),
        ("q0\td1\t0", "judges no"),
    ],
)
def test_bad_judgements_are_named(files, line, message):
    task = files[0]
    write_lines(Path(task.qrels), ["query-id\tcorpus-id\tscore", line])
    with pytest.raises(SourceError, match=message):
        read_beir(Path(task.corpus), Path(task.queries), Path(task.qrels))


def labelled(seed, n):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return unit((np.eye(3, 8)[labels] + 0.6 * rng.standard_normal((n, 8))).astype(np.float32)), [str(i) for i in labels]


def test_clustering_takes_the_largest_seed():
    vectors = unit(np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32))
    assert clustering_scores(vectors, list("aabbaabb"), 2**32 - 1)[0].n == 8


def test_classification_is_scikit_learns_logistic_regression():
    (train, train_labels), (test, test_labels) = labelled(1, 90), labelled(2, 60)
    scores, items = classification_scores(train, train_labels, test, test_labels, 20, 0)
    expected = LogisticRegression(max_iter=1000).fit(train, train_labels).score(test, test_labels)
    assert scores[0].value == pytest.approx(100 * expected, abs=1e-3)
    assert 40 < scores[0].value < 100
    assert len(items["all texts"]) == 60


def test_clusters_that_lie_apart_are_found():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    assert clustering_scores(vectors, ["a"] * 5 + ["b"] * 5 + ["c"] * 5, 0)[0].value == pytest.approx(100)
    assert clustering_scores(vectors, ["a", "b", "c"] * 5, 0)[0].value < 20


def test_a_missing_column_is_named(tmp_path):
    write_lines(tmp_path / "x.csv", ["text,topic", "one,a", "two,b"])
    path = str(tmp_path / "x.csv")
    assert ClusteringTask(kind="clustering", path=path, label="topic").read(path) == (["one", "two"], ["a", "b"])
    with pytest.raises(SourceError, match=r"x\.csv: no column 'label'; it has \['text', 'topic'\]"):
        ClusteringTask(kind="clustering", path=path).read(path)


def test_mteb_that_is_not_installed_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(ConfigError, match="pip install 'mteb"):
        mteb_scores(None, MtebTask(kind="mteb", task="STSBenchmark"))


@pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="the optional extra `mteb` is not installed")
def test_an_mteb_task_gives_the_correlation_of_its_own_data(teacher):
    import mteb
    from datasets import Dataset, DatasetDict

    task = mteb.get_task("STSBenchmark")
    rows = {"sentence1": list(TEXTS), "sentence2": [*TEXTS[1:], TEXTS[0]], "score": [i % 6 for i in range(len(TEXTS))]}
    task.dataset, task.data_loaded = DatasetDict({"test": Dataset.from_dict(rows)}), True
    model = load_sentence_transformer(teacher, "cpu")
    (score,) = scores_of(mteb, model, task)
    from scipy.stats import spearmanr

    one, other = (unit(model.encode(rows[key])) for key in ("sentence1", "sentence2"))
    assert score.metric == "cosine_spearman (MTEB)"
    expected = 100 * spearmanr((one * other).sum(axis=1), rows["score"]).statistic
    assert score.value == pytest.approx(expected, abs=0.1)


@pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="the optional extra `mteb` is not installed")
def test_an_unknown_mteb_task_is_answered_with_names_close_to_it():
    with pytest.raises(ConfigError, match="STSBenchmark"):
        mteb_scores(None, MtebTask(kind="mteb", task="STSBenchmrk"))
