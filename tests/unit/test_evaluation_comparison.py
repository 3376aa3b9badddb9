"""A difference inside the noise is called so, and one outside it is not."""

import numpy as np
import pytest

from langtailor.errors import ArtifactError
from langtailor.evaluation.comparison import Comparison, Difference, harm, read_comparisons
from langtailor.evaluation.scores import Evaluation, Score, mean_score
from langtailor.evaluation.tasks.sts import sts_scores

GENERATOR = np.random.default_rng(1)


MODELS = {"teacher": "teacher", "cut": "tailored.cut/clone", "grafted": "tailored/clone", "trained": "tailored/student"}


def write(root, step, items, gold=()):
    folder = root / MODELS[step]
    if gold:
        scores = sts_scores(np.asarray(items), np.asarray(gold), 10, 0)
        result = Evaluation("task", "sts", "x", scores, {"cosine": tuple(items)}, gold)
    else:
        scores = (mean_score("accuracy", np.asarray(items), 10, 0, group="both directions"),)
        result = Evaluation("task", "bitext", "x", scores, {"both directions": tuple(items)})
    result.write(folder / "task.json")


def compare(root):
    present = {step: folder for step, folder in MODELS.items() if (root / folder).is_dir()}
    return read_comparisons(root, present, ["task"], resamples=500, seed=0)


def test_a_clear_difference_is_seen_and_retention_follows(tmp_path):
    write(tmp_path, "teacher", [100.0] * 80 + [0.0] * 20)
    write(tmp_path, "cut", [0.0] * 100)
    write(tmp_path, "trained", [100.0] * 60 + [0.0] * 40)
    (found,) = compare(tmp_path)
    assert found.retention == pytest.approx(75)
    assert found.to_teacher["trained"].value == pytest.approx(-20)
    assert found.to_teacher["trained"].low < -20 < found.to_teacher["trained"].high < 0
    assert not found.to_teacher["trained"].is_noise
    assert not found.to_cut["trained"].is_noise


def test_a_model_that_orders_nothing_is_compared_too(tmp_path):
    gold = tuple(GENERATOR.normal(size=30).tolist())
    write(tmp_path, "teacher", gold, gold)
    write(tmp_path, "cut", [0.5] * 30, gold)
    spearman, _ = compare(tmp_path)
    assert (spearman.scores["cut"].value, spearman.to_teacher["cut"].value) == pytest.approx((0, -100))
    assert not spearman.to_teacher["cut"].is_noise


def test_a_difference_on_few_items_is_noise(tmp_path):
    write(tmp_path, "teacher", [100.0, 0.0, 100.0, 0.0])
    write(tmp_path, "cut", [100.0, 0.0, 100.0, 0.0])
    write(tmp_path, "trained", [100.0, 100.0, 0.0, 100.0])
    (found,) = compare(tmp_path)
    assert found.to_teacher["trained"].is_noise


def test_pairing_finds_a_small_but_steady_gain_in_correlation(tmp_path):
    gold = tuple(GENERATOR.normal(size=300).tolist())
    noise = GENERATOR.normal(size=300)
    write(tmp_path, "teacher", (np.asarray(gold) + 1.0 * noise).tolist(), gold)
    write(tmp_path, "cut", noise.tolist(), gold)
    write(tmp_path, "trained", (np.asarray(gold) + 0.9 * noise).tolist(), gold)
    spearman, pearson = compare(tmp_path)
    scores = spearman.scores
    assert scores["trained"].low < scores["teacher"].high, "the plain intervals overlap"
    assert not spearman.to_teacher["trained"].is_noise, "the paired one does not hold zero"
    assert pearson.to_teacher == {}


def test_results_on_other_items_are_not_compared(tmp_path):
    write(tmp_path, "teacher", [100.0, 0.0])
    write(tmp_path, "cut", [100.0, 0.0])
    write(tmp_path, "trained", [100.0, 0.0, 0.0])
    with pytest.raises(ArtifactError, match="other items"):
        compare(tmp_path)


def test_a_task_without_items_is_shown_without_differences(tmp_path):
    for folder in MODELS.values():
        score = Score("tokens per word", 2.0, None, None, 5, "tr")
        Evaluation("task", "fertility", "x", (score,)).write(tmp_path / folder / "task.json")
    (found,) = compare(tmp_path)
    assert found.to_teacher == {}
    assert found.less_is_better
    assert found.retention is None, "fewer tokens keep no share of anything"


def test_a_step_that_is_worse_than_cutting_alone_is_told(tmp_path):
    write(tmp_path, "teacher", [100.0] * 90 + [0.0] * 10)
    write(tmp_path, "cut", [100.0] * 85 + [0.0] * 15)
    write(tmp_path, "grafted", [100.0] * 50 + [0.0] * 50)
    write(tmp_path, "trained", [100.0] * 84 + [0.0] * 16)
    (found,) = compare(tmp_path)
    assert found.harmful == ["grafted"]
    assert found.student == "trained"
    (sentence,) = harm([found])
    assert sentence.startswith("grafted is worse than cutting alone on task (both directions): 50 after 85 (-35, 95 %")
    assert set(found.to_teacher) == {"cut", "grafted", "trained"}
    assert set(found.to_cut) == {"grafted", "trained"}


def test_a_lower_figure_is_no_harm_where_less_is_better(tmp_path):
    difference = Difference(-1.0, -1.5, -0.5)
    scores = {step: Score("x", 1.0, None, None, 9) for step in MODELS}
    assert Comparison("t", "x", None, scores, {}, {"grafted": difference}, less_is_better=True).harmful == []
    assert Comparison("t", "x", None, scores, {}, {"grafted": difference}).harmful == ["grafted"]


def test_what_fewer_layers_cost_is_no_harm():
    worse, score = Difference(-9.0, -9.5, -8.5), Score("x", 1.0, None, None, 9)
    scores = dict.fromkeys(("teacher", "cut", "grafted", "reduced", "trained"), score)
    to_cut = dict.fromkeys(("grafted", "reduced", "trained"), worse)
    assert Comparison("t", "x", None, scores, {}, to_cut).harmful == ["grafted"]
    del to_cut["reduced"]
    assert Comparison("t", "x", None, scores, {}, to_cut).harmful == ["grafted", "trained"]
