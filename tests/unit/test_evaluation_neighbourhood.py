"""Neighbours against a search by hand, and the plane of the map against numpy's eigenvectors."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from langtailor.evaluation.neighbourhood import Neighbourhood, neighbours_kept, principal_plane
from langtailor.evaluation.scores import Evaluation, Score
from langtailor.models.nearest import nearest_others
from langtailor.models.similarity import unit

rng = np.random.default_rng(3)
TEACHER = unit(rng.normal(size=(40, 8)).astype(np.float32))
MODEL = unit(TEACHER + rng.normal(scale=0.3, size=TEACHER.shape).astype(np.float32))


def by_hand(vectors, depth):
    found = []
    for row, vector in enumerate(vectors):
        others = [(-float(vector @ other), at) for at, other in enumerate(vectors) if at != row]
        found.append([at for _, at in sorted(others)[:depth]])
    return found


def test_the_nearest_others_are_those_of_a_search_by_hand():
    assert nearest_others(MODEL, 5).tolist() == by_hand(MODEL, 5)
    assert nearest_others(MODEL, 100).shape == (40, 39)


def test_kept_is_the_share_of_the_models_nearest_that_are_the_teachers():
    both = zip(by_hand(MODEL, 10), by_hand(TEACHER, 10), strict=True)
    expected = [10.0 * len(set(model) & set(teacher)) for model, teacher in both]
    assert 0 < np.mean(expected) < 100
    assert neighbours_kept(TEACHER, MODEL).tolist() == expected
    assert neighbours_kept(TEACHER, TEACHER).tolist() == [100.0] * 40


def test_of_equally_near_passages_it_does_not_matter_which_a_model_takes():
    teacher = unit(np.array([[1, 0], [1, 0.1], [1, 0.1], [1, 0.1], [0, 1]], np.float32))
    model = unit(np.array([[1, 0], [1, 0.3], [1, 0.2], [1, 0.1], [0, 1]], np.float32))
    assert nearest_others(teacher, 1)[0].tolist() != nearest_others(model, 1)[0].tolist()
    assert neighbours_kept(teacher, model, depth=1)[0] == 100


def test_the_axes_are_the_first_eigenvectors_of_the_covariance():
    centre, axes, explained = principal_plane(TEACHER)
    values, vectors = np.linalg.eigh(np.cov(TEACHER.T.astype(np.float64)))
    np.testing.assert_allclose(centre, TEACHER.mean(axis=0), atol=1e-7)
    np.testing.assert_allclose(np.abs(axes), np.abs(vectors.T[[-1, -2]]), atol=1e-5)
    assert explained == pytest.approx(values[-2:].sum() / values.sum(), rel=1e-5)
    assert (axes[np.arange(2), np.abs(axes).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("vectors", [TEACHER[:2], np.repeat(TEACHER[:1], 3, axis=0), TEACHER[:3, :1]])
def test_too_little_for_a_plane_is_a_line_or_a_point(vectors):
    result = Neighbourhood.of([("tr", "a")] * len(vectors), vectors, vectors)
    assert np.isfinite(result.teacher).all() and result.teacher == result.model
    assert 0 <= result.explained <= 1


def test_a_result_is_read_back_as_it_was(tmp_path):
    texts = [("tr" if row % 2 else "en", f"text {row}") for row in range(40)]
    written = Neighbourhood.of(texts, TEACHER, MODEL)
    assert written.languages[:2] == ("en", "tr")
    assert written.model_nearest[7] == tuple(by_hand(MODEL, 3)[7])
    assert Neighbourhood.from_plain(json.loads(json.dumps(asdict(written)))) == written
    result = Evaluation("agreement", "agreement", "x", (Score("cosine", 1, None, None, 1),), neighbourhood=written)
    result.write(tmp_path / "agreement.json")
    assert Evaluation.read(tmp_path / "agreement.json") == result
