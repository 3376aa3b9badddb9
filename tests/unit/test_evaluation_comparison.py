"""A difference inside the noise is called so, and one outside it is not."""

import numpy as np
import pytest

from langtailor.errors import ArtifactError
from langtailor.evaluation.comparison import read_comparisons
from langtailor.evaluation.scores import Evaluation, Score, mean_score
from langtailor.evaluation.tasks.sts import sts_scores

GENERATOR = np.random.default_rng(1)


def write(root, model, items, gold=()):
    folder = root / "teacher" if model == "teacher" else root / "tailored" / model
    if gold:
        scores = sts_scores(np.asarray(items), np.asarray(gold), 10, 0)
        result = Evaluation("task", "sts", "x", scores, {"cosine": tuple(items)}, gold)
    else:
        scores = (mean_score("accuracy", np.asarray(items), 10, 0, group="both directions"),)
        result = Evaluation("task", "bitext", "x", scores, {"both directions": tuple(items)})
    result.write(folder / "task.json")


def compare(root):
    return read_comparisons(root, "tailored", ["task"], resamples=500, seed=0)


def test_a_clear_difference_is_seen_and_retention_follows(tmp_path):
    write(tmp_path, "teacher", [100.0] * 80 + [0.0] * 20)
    write(tmp_path, "clone", [0.0] * 100)
    write(tmp_path, "student", [100.0] * 60 + [0.0] * 40)
    (found,) = compare(tmp_path)
    assert found.retention == pytest.approx(75)
    assert found.to_teacher.value == pytest.approx(-20)
    assert found.to_teacher.low < -20 < found.to_teacher.high < 0
    assert not found.to_teacher.is_noise
    assert not found.to_clone.is_noise


def test_a_difference_on_few_items_is_noise(tmp_path):
    write(tmp_path, "teacher", [100.0, 0.0, 100.0, 0.0])
    write(tmp_path, "clone", [100.0, 0.0, 100.0, 0.0])
    write(tmp_path, "student", [100.0, 100.0, 0.0, 100.0])
    (found,) = compare(tmp_path)
    assert found.to_teacher.is_noise


def test_pairing_finds_a_small_but_steady_gain_in_correlation(tmp_path):
    gold = tuple(GENERATOR.normal(size=300).tolist())
    noise = GENERATOR.normal(size=300)
    write(tmp_path, "teacher", (np.asarray(gold) + 1.0 * noise).tolist(), gold)
    write(tmp_path, "clone", noise.tolist(), gold)
    write(tmp_path, "student", (np.asarray(gold) + 0.9 * noise).tolist(), gold)
    spearman, pearson = compare(tmp_path)
    scores = spearman.scores
    assert scores["student"].low < scores["teacher"].high, "the plain intervals overlap"
    assert not spearman.to_teacher.is_noise, "the paired one does not hold zero"
    assert pearson.to_teacher is None


def test_results_on_other_items_are_not_compared(tmp_path):
    write(tmp_path, "teacher", [100.0, 0.0])
    write(tmp_path, "clone", [100.0, 0.0])
    write(tmp_path, "student", [100.0, 0.0, 0.0])
    with pytest.raises(ArtifactError, match="other items"):
        compare(tmp_path)


def test_a_task_without_items_is_shown_without_differences(tmp_path):
    for folder in ("teacher", "tailored/clone", "tailored/student"):
        score = Score("tokens per word", 2.0, None, None, 5, "tr")
        Evaluation("task", "fertility", "x", (score,)).write(tmp_path / folder / "task.json")
    (found,) = compare(tmp_path)
    assert found.to_teacher is None
    assert found.less_is_better
    assert found.retention is None, "fewer tokens keep no share of anything"
