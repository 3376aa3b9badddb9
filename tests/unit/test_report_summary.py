"""The page opens with what a variant is, what it keeps and what it lost, in words that the figures bear out."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from langtailor.evaluation.comparison import Comparison, Difference
from langtailor.evaluation.scores import Score
from langtailor.report.summary import VariantFacts, summarise
from langtailor.student.retention import retained


def model(parameters: int, vocabulary: int) -> Any:
    return SimpleNamespace(parameters=parameters, vocabulary_size=vocabulary)


def facts(new_tokens=0, trained=False, words=()) -> VariantFacts:
    teacher = model(2_000_000, 1_000)
    student = model(500_000, 250)
    return VariantFacts("who/what", teacher, "who/what", teacher, student, new_tokens, {}, trained, dict(words))


def compared(task, metric, group, teacher, student, to_teacher=None, to_cut=None, low=None, less=False) -> Comparison:
    scores = {"teacher": Score(metric, teacher, low, None, 9), "cut": Score(metric, student, None, None, 9)}
    scores["trained"] = Score(metric, student, None, None, 9)
    to_teacher, to_cut = ({"trained": Difference(*d)} if d else {} for d in (to_teacher, to_cut))
    return Comparison(task, metric, group, scores, to_teacher, to_cut, less)


BETTER, WORSE, NOISE = (2.0, 1.0, 3.0), (-2.0, -3.0, -1.0), (-0.5, -2.0, 1.0)


def test_it_says_what_the_variant_is_and_what_it_costs():
    speed = compared("pace", "passages per second", None, 100.0, 150.0)
    said = summarise(facts(50, True, {"tr": (3.0, 1.5)}), [speed]).what
    assert said == (
        "is who/what with 200 of its 1,000 tokens and 50 new ones, trained on its vectors. It has 25 % of the parameters "
        "(0.5 M of 2.0 M); encodes 1.5 times as many passages per second and needs 1.50 tokens per word in tr instead of 3.00."
    )
    assert summarise(facts(), []).what.startswith("is who/what with 250 of its 1,000 tokens, not trained. It has 25 %")


def test_what_is_kept_is_told_of_every_task_and_of_many_in_one_figure():
    few = [compared("sts-en", "spearman", None, 80.0, 76.0), compared("sts-tr", "spearman", None, 50.0, 49.0)]
    assert "It keeps 95.0 % on sts-en and 98.0 % on sts-tr." in summarise(facts(), few).what
    many = [compared(f"t{i}", "spearman", None, 100.0, 90.0 + i) for i in range(9)]
    assert "It keeps 94.0 % of the teacher over 9 tasks, least on t0 (90.0 %)." in summarise(facts(), many).what


def test_where_there_is_little_to_retain_both_figures_are_told():
    said = summarise(facts(), [compared("agreement", "cosine", "all", 0.12, 0.942)]).what
    assert "It goes from 0.120 to 0.942 on agreement (cosine)." in said
    assert "keeps" not in said


@pytest.mark.parametrize(
    ("teacher", "student", "low", "expected"),
    [
        (80.0, 60.0, 79.0, 75.0),
        (80.0, 86.0, None, 107.5),
        (0.12, 0.942, 0.1, None),
        (4.5, 4.0, 0.0, None),
        (0.0, 3.0, None, None),
    ],
)
def test_a_share_is_told_only_where_there_was_something_to_retain(teacher, student, low, expected):
    assert retained(compared("task", "accuracy", None, teacher, student, low=low)) == expected
    assert retained(compared("task", "uniformity", None, teacher, student, low=low, less=True)) is None


def test_a_loss_beyond_noise_is_told_with_its_language():
    said = summarise(
        facts(),
        [
            compared("retrieval", "ndcg", "de", 0.5, 0.4, WORSE),
            compared("retrieval", "ndcg", "fr", 0.5, 0.1, WORSE),
            compared("sts", "spearman", None, 80.0, 79.0, NOISE),
            compared("shape", "uniformity", None, -2.0, -1.0, BETTER, less=True),
            compared("words", "tokens per word", "tr", 2.0, 3.0, BETTER, less=True),
        ],
    )
    assert said.any_lost
    assert said.lost == "It is significantly worse than the teacher on retrieval (fr); retrieval (de) and shape."


def test_of_many_losses_the_worst_are_named_and_the_rest_counted():
    rows = [compared("retrieval", "ndcg", f"l{i}", 0.9, 0.1 * (i + 1), WORSE) for i in range(7)]
    lost = summarise(facts(), rows).lost
    assert lost.endswith("on retrieval (l0); retrieval (l1); retrieval (l2); retrieval (l3) and 3 more.")


def test_noise_and_gains_are_no_loss():
    said = summarise(
        facts(), [compared("a", "ndcg", "de", 0.5, 0.49, NOISE), compared("b", "ndcg", "de", 0.5, 0.6, BETTER)]
    )
    assert (said.lost, said.any_lost) == ("No kept language and no task lost more than noise.", False)


def test_the_teacher_beside_its_own_vectors_is_no_competitor_but_the_farthest_language_is_told():
    own = [compared("agreement", "cosine", lang, 1.0, cosine, WORSE) for lang, cosine in (("de", 0.99), ("zh", 0.91))]
    said = summarise(facts(), own)
    assert not said.any_lost
    assert said.lost == (
        "The tasks of this run cannot say whether quality was lost; add one of the kind sts, bitext or retrieval."
    )
    assert "Its vectors are farthest from the teacher's in zh (cosine 0.910)." in said.what


def test_neighbours_are_told_with_it_and_are_no_loss_where_the_teacher_has_its_own():
    cosine = compared("agreement", "cosine", "de", 1.0, 0.99, WORSE)
    kept = compared("agreement", "nearest kept", "neighbours", 100.0, 96.25, WORSE)
    said = summarise(facts(), [cosine, kept])
    assert not said.any_lost
    assert "in de (cosine 0.990); 96.2 % of nearest neighbours are the teacher's." in said.what
    other = compared("agreement", "nearest kept", "neighbours", 80.0, 70.0, WORSE)
    assert "on agreement (neighbours)" in summarise(facts(), [other]).lost, "of a teacher that reads other texts"


def test_a_training_that_made_a_language_worse_than_cutting_is_told():
    said = summarise(facts(), [compared("agreement", "cosine", "en", 1.0, 0.9, WORSE, WORSE)])
    assert said.lost == "It is significantly worse than the model that is only cut on agreement (en)."
    assert said.any_lost


def test_what_the_student_has_less_of_is_named():
    reduction = {"layers": [0, 5, 11], "teacher_layers": 12, "dimensions": None}
    less = replace(facts(), reduction=reduction)
    assert " tokens and 3 of its 12 layers, " in summarise(less, []).what
    student, teacher = (
        SimpleNamespace(**vars(which), dimension=n) for which, n in ((less.student, 8), (less.teacher, 32))
    )
    shorter = replace(less, reduction=reduction | {"dimensions": 8}, student=student, teacher=teacher, base=teacher)
    assert "; 3 of its 12 layers and 8 dimensions instead of 32, " in summarise(shorter, []).what
    whole = {"layers": [0, 1], "teacher_layers": 2, "dimensions": None}
    assert "layers" not in summarise(replace(less, reduction=whole), []).what


def test_a_student_of_another_encoder_is_measured_by_that_and_by_the_teacher():
    base = model(600_000, 400)
    what = summarise(replace(facts(trained=True), base_name="small/one", base=base), []).what
    assert "is small/one with 250 of its 400 tokens, trained on the vectors of who/what." in what
    assert "has 25 % of the parameters" in what, "of the teacher's"
