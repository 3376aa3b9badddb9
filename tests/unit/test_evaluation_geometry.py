"""Alignment and uniformity against their formulas, and speed against the clock."""

import numpy as np
import pytest

from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks import speed
from langtailor.evaluation.tasks.geometry import GeometryTask, alignment, uniformity
from langtailor.evaluation.tasks.speed import SpeedTask
from langtailor.models.similarity import unit
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import write_corpus


def test_alignment_is_the_squared_distance():
    first = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    second = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    assert alignment(first, second).tolist() == pytest.approx([0, 2, 4])


def test_uniformity_is_the_mean_potential_of_all_pairs(monkeypatch):
    vectors = unit(np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32))
    potentials = [np.exp(-2 * np.square(a - b).sum()) for i, a in enumerate(vectors) for b in vectors[:i]]
    monkeypatch.setattr("langtailor.evaluation.tasks.geometry._ROWS_AT_ONCE", 4)
    assert uniformity(vectors) == pytest.approx(np.log(np.mean(potentials)), abs=1e-6)
    assert uniformity(np.repeat(vectors[:1], 5, axis=0)) == pytest.approx(0, abs=1e-5)


def test_of_many_vectors_a_part_stands_for_all(monkeypatch):
    vectors = unit(np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32))
    whole = uniformity(vectors)
    monkeypatch.setattr("langtailor.evaluation.tasks.geometry._MOST_ROWS", 200)
    assert uniformity(vectors) == pytest.approx(whole, abs=0.05)


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    folder = make_tiny_bert_teacher(tmp_path_factory.mktemp("teacher") / "model")
    return Evaluator(folder, TeacherSettings(model=str(folder)), resamples=10, seed=1, device="cpu")


def test_the_geometry_of_a_corpus_is_reported_by_language(evaluator, tmp_path):
    corpora = {lang: tmp_path / f"{lang}.parquet" for lang in ("en", "tr")}
    for lang, path in corpora.items():
        write_corpus(path, lang, (4, 2, 12), pairs=lang == "tr")
    found = GeometryTask(kind="geometry").evaluate(evaluator, Inputs(corpora))
    assert [(score.metric, score.group, score.n) for score in found.scores] == [
        ("uniformity", "all", 24),
        ("uniformity", "en", 12),
        ("uniformity", "tr", 12),
        ("alignment", "tr to aligned text", 12),
    ]
    assert np.mean(found.items["tr to aligned text"]) == pytest.approx(found.scores[-1].value, abs=1e-3)


def test_a_language_without_test_passages_is_named(evaluator, tmp_path, caplog):
    corpora = {lang: tmp_path / f"{lang}.parquet" for lang in ("en", "tr")}
    for lang, path in corpora.items():
        write_corpus(path, lang, (4, 2, 12 if lang == "en" else 0))
    found = GeometryTask(kind="geometry").evaluate(evaluator, Inputs(corpora))
    assert [(score.group, score.n) for score in found.scores] == [("all", 12), ("en", 12)]
    assert "tr: no test passages; geometry leaves it out" in caplog.text
    assert GeometryTask(kind="geometry").evaluate(evaluator, Inputs({"tr": corpora["tr"]})).scores == ()


def test_speed_is_the_median_of_three_repetitions(evaluator, tmp_path, monkeypatch):
    write_corpus(tmp_path / "en.parquet", "en", (4, 2, 12))
    clock = iter([0.0, 9.0, 10.0, 12.0, 20.0, 21.0])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    task = SpeedTask(kind="speed", passages=10)
    scores = task.evaluate(evaluator, Inputs({"en": tmp_path / "en.parquet"})).scores
    assert scores[0].metric == "passages per second"
    assert (scores[0].value, scores[0].n) == (5.0, 10)
    assert scores[1].value > scores[0].value, "a passage has several tokens"
