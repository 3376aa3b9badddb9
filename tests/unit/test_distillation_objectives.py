from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor

from langtailor.config.distillation import ObjectiveSettings
from langtailor.distillation.objective import Objective
from langtailor.errors import ConfigError
from langtailor.models.similarity import Similarity
from langtailor.objectives.answer import Answer
from langtailor.objectives.contrastive import Contrastive
from langtailor.objectives.cosine import Cosine
from langtailor.objectives.listwise import Listwise
from langtailor.objectives.mse import MeanSquaredError
from langtailor.objectives.relational import Relational
from langtailor.objectives.term import Targets, Term, objective_term, objective_terms

#: Two passages in two dimensions, as easy to compute with as vectors get.
STUDENT = tensor([[1.0, 0.0], [0.0, 2.0]])
TEACHER = tensor([[1.0, 1.0], [0.0, 1.0]])
#: Each has a text of its own.
TEXTS = tensor([5, 3])
HALF_ROOT = math.sqrt(0.5)


def objective(**settings) -> Objective:
    return Objective(ObjectiveSettings(**{"cosine": 0, **settings}))


def test_cosine_is_one_minus_the_mean_cosine():
    assert Cosine().loss(STUDENT, Targets(TEACHER, TEXTS)).item() == pytest.approx(1 - (HALF_ROOT + 1) / 2)


def test_mse_is_the_mean_over_passages_and_dimensions():
    assert MeanSquaredError().loss(STUDENT, Targets(TEACHER, TEXTS)).item() == pytest.approx((0 + 1 + 0 + 1) / 4)


def test_hidden_states_are_the_mean_error_behind_the_vectors_which_other_terms_do_not_see():
    errors = tensor([[0.25], [0.75]])
    found = objective(cosine=1, hidden_states=2)(torch.cat([STUDENT, errors], dim=1), Targets(TEACHER, TEXTS))
    assert found["hidden_states"].item() == pytest.approx(0.5)
    assert found["cosine"].item() == pytest.approx(Cosine().loss(STUDENT, Targets(TEACHER, TEXTS)).item())
    assert found["loss"].item() == pytest.approx(found["cosine"].item() + 2 * 0.5)


def test_relational_compares_the_similarity_matrices():
    # The student's two passages are orthogonal, the teacher's have the cosine √½; the diagonals agree.
    assert Relational().loss(STUDENT, Targets(TEACHER, TEXTS)).item() == pytest.approx(2 * 0.5 / 4)


def test_relational_takes_vectors_of_another_width():
    wide = tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert Relational().loss(STUDENT, Targets(wide, TEXTS)).item() == pytest.approx(2 * 0.5 / 4)


def test_contrastive_is_infonce_against_the_stored_vectors():
    # Logits at τ = 0.5: student 1 sees (√½, 0), student 2 sees (√½, 1), each divided by τ.
    first = math.log(1 + math.exp((0 - HALF_ROOT) / 0.5))
    second = math.log(1 + math.exp((HALF_ROOT - 1) / 0.5))
    assert Contrastive(temperature=0.5).loss(STUDENT, Targets(TEACHER, TEXTS)).item() == pytest.approx(
        (first + second) / 2
    )


def test_contrastive_does_not_hold_translations_of_one_text_against_each_other():
    student = tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    teacher = tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    first = math.log(1 + math.exp((0 - HALF_ROOT) / 0.5))
    second = math.log(1 + 2 * math.exp((HALF_ROOT - 1) / 0.5))
    assert Contrastive(temperature=0.5).loss(student, Targets(teacher, tensor([5, 3, 5]))).item() == pytest.approx(
        (2 * first + second) / 3
    )


def test_contrastive_holds_two_texts_against_each_other_even_where_the_teacher_gives_them_one_vector():
    student, teacher = tensor([[1.0, 0.0], [0.0, 2.0]]), tensor([[1.0, 0.0], [1.0, 0.0]])
    assert Contrastive().loss(student, Targets(teacher, tensor([5, 3]))).item() == pytest.approx(math.log(2))
    assert Contrastive().loss(student, Targets(teacher, tensor([5, 5]))).item() == pytest.approx(0)


def test_the_loss_is_the_weighted_sum_of_its_terms():
    found = objective(cosine=10, relational=200)(STUDENT, Targets(TEACHER, TEXTS))
    assert set(found) == {"loss", "cosine", "relational"}
    assert found["loss"].item() == pytest.approx(10 * (1 - (HALF_ROOT + 1) / 2) + 200 * 0.25)


def test_a_matryoshka_dimension_counts_as_much_as_the_whole_vector():
    # On the first dimension alone the student's second passage is the zero vector; the teacher's too.
    found = objective(cosine=1, matryoshka=(1,))(STUDENT, Targets(TEACHER, TEXTS))
    whole, truncated = 1 - (HALF_ROOT + 1) / 2, 1 - (1 + 0) / 2
    assert found["loss"].item() == pytest.approx((whole + truncated) / 2)


def test_truncated_vectors_are_scaled_to_length_one():
    student, teacher = tensor([[3.0, 4.0, 0.0]]), tensor([[1.0, 0.0, 7.0]])
    found = objective(mse=1, matryoshka=(2,))(student, Targets(teacher, TEXTS))
    whole, truncated = (4 + 16 + 49) / 3, ((0.6 - 1) ** 2 + 0.8**2) / 2
    assert found["mse"].item() == pytest.approx((whole + truncated) / 2)


@pytest.mark.parametrize(("similarities", "share"), [("truncated", 1 / 2), ("full", 1)])
def test_similarities_of_a_truncated_student_are_compared_with_those_asked_for(similarities, share):
    # The student's similarity is 1, the teacher's √½; of their first dimensions alone both are 1.
    student, teacher = tensor([[1.0, 0.0], [1.0, 0.0]]), tensor([[1.0, 0.0], [1.0, 1.0]])
    found = objective(relational=1, matryoshka=(1,), matryoshka_similarities=similarities)(
        student, Targets(teacher, TEXTS)
    )
    assert found["loss"].item() == pytest.approx(share * 2 * (1 - HALF_ROOT) ** 2 / 4)


def test_a_matryoshka_dimension_must_be_below_the_width():
    with pytest.raises(ConfigError, match="found 384; the vectors have 384 dimensions"):
        objective(cosine=1, matryoshka=(128, 384)).check_dimension(384, "distillation")


@pytest.mark.parametrize(("terms", "across"), [({"cosine": 1, "mse": 1}, False), ({"relational": 1}, True)])
def test_an_objective_knows_whether_it_compares_passages(terms, across):
    assert objective(**terms).compares_passages is across


def test_terms_have_their_keys_in_the_configuration_in_one_order():
    assert [term.name for term in objective_terms()] == [
        "cosine",
        "hidden_states",
        "mse",
        "relational",
        "contrastive",
        "answer",
        "listwise",
    ]
    keys = [*ObjectiveSettings().model_dump()]
    assert keys == [
        "cosine",
        "hidden_states",
        "mse",
        "relational",
        "contrastive",
        "temperature",
        "answer",
        "answer_temperature",
        "listwise",
        "listwise_temperature",
        "matryoshka",
        "matryoshka_similarities",
    ]
    assert (
        ObjectiveSettings.model_fields["mse"].description
        == "Mean squared error of the vectors (Reimers and Gurevych 2020)."
    )


def test_a_parameter_of_the_configuration_reaches_its_term():
    assert ObjectiveSettings(contrastive=2, temperature=0.5).weighted_terms() == [
        (Cosine(), 1.0),
        (Contrastive(temperature=0.5), 2.0),
    ]


def test_the_modules_of_an_objective_are_those_of_its_terms():
    assert ObjectiveSettings(relational=2).modules() == ["objectives.cosine", "objectives.relational"]


@pytest.mark.parametrize(
    ("similarity", "terms", "says"),
    [
        ("dot", {"cosine": 1}, "compares vectors by dot product"),
        ("euclidean", {"relational": 1, "contrastive": 1}, "compares vectors by Euclidean distance"),
        ("manhattan", {"cosine": 1}, "compares vectors by Manhattan distance"),
        ("dot", {"cosine": 1, "mse": 0.1}, None),
        ("cosine", {"cosine": 1}, None),
    ],
)
def test_where_length_matters_a_term_that_keeps_it_is_offered(caplog, similarity, terms, says):
    objective(**terms).warn_of_free_length(Similarity(similarity))
    if says is None:
        assert not caplog.records
    else:
        (record,) = caplog.records
        assert says in record.getMessage()
        assert record.getMessage().endswith("no term of the objective preserves it: give `mse` a weight")


def test_two_terms_cannot_have_the_same_key():
    class Second(Term):
        """Another term with a temperature."""

        name = "second"
        temperature: float = 1.0

        def loss(self, student, teacher, texts):
            raise NotImplementedError

    with pytest.raises(ValueError, match="Second: another objective term has the key 'temperature'"):
        objective_term(Second)


VECTORS = st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=2, max_size=5)


@settings(deadline=None)
@given(VECTORS, st.floats(0.1, 10))
def test_only_mse_sees_the_length_of_a_vector(rows, factor):
    student = tensor(rows) + 2
    teacher = tensor(rows).flip(1) + 2
    for term in ("cosine", "relational", "contrastive"):
        loss = objective(**{term: 1})
        targets = Targets(teacher, torch.arange(len(rows)))
        expected = loss(student, targets)["loss"].item()
        assert loss(factor * student, targets)["loss"].item() == pytest.approx(expected, abs=1e-4)


@settings(deadline=None)
@given(VECTORS)
def test_a_student_that_is_the_teacher_has_nothing_to_learn(rows):
    vectors = tensor(rows) + 2
    found = objective(cosine=1, mse=1, relational=1, matryoshka=(2,))(
        vectors.requires_grad_(), Targets(vectors.detach(), torch.arange(len(vectors)))
    )
    assert found["loss"].item() == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(found["loss"], [vectors])
    assert gradient.abs().max().item() < 1e-3


#: Two candidates of the first passage; one of the second, whose right one is not known.
CANDIDATES = tensor([[[1.0, 0.0], [0.0, 3.0]], [[0.0, 0.0], [1.0, 0.0]]])
PRESENT = tensor([[True, True], [False, True]])
RANKING = Targets(TEACHER, TEXTS, CANDIDATES, PRESENT)


def test_listwise_is_the_divergence_from_the_teachers_scores_of_the_candidates():
    # The teacher's first passage is as near to both, so that p = (½, ½); the student sees cosines of (1, 0) at τ = 0.5.
    q = math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 1)
    first = 0.5 * math.log(0.5 / q) + 0.5 * math.log(0.5 / (1 - q))
    assert Listwise(listwise_temperature=0.5).loss(STUDENT, RANKING).item() == pytest.approx((first + 0) / 2)


def test_listwise_is_zero_where_the_student_ranks_as_the_teacher_does():
    assert Listwise().loss(3 * TEACHER, RANKING).item() == pytest.approx(0, abs=1e-7)


def test_answer_is_infonce_of_the_right_candidate_where_it_is_known():
    expected = math.log(1 + math.exp((0 - 1) / 0.5))
    assert Answer(answer_temperature=0.5).loss(STUDENT, RANKING).item() == pytest.approx((expected + 0) / 2)


@pytest.mark.parametrize("term", [Listwise(), Answer()], ids=["listwise", "answer"])
def test_what_is_not_there_gives_no_gradient(term):
    student = STUDENT.clone().requires_grad_()
    nothing = Targets(TEACHER, TEXTS, CANDIDATES, torch.zeros(2, 2, dtype=torch.bool))
    term.loss(student, nothing).backward()
    assert term.loss(student, nothing).item() == pytest.approx(0)
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_candidates_of_truncated_vectors_are_truncated():
    # On the first dimension alone both candidates of the first passage are as near to student and teacher as can be told.
    found = objective(listwise=1, matryoshka=(1,), listwise_temperature=0.5)
    near = Targets(TEACHER[:1], TEXTS[:1], tensor([[[1.0, 0.0], [2.0, 5.0]]]), tensor([[True, True]]))
    whole = Listwise(listwise_temperature=0.5).loss(STUDENT[:1], near).item()
    assert whole > 0.01
    assert found(STUDENT[:1], near)["loss"].item() == pytest.approx(whole / 2)


@pytest.mark.parametrize("term", [term for term in objective_terms() if not term.compares_passages])
@pytest.mark.parametrize("parts", [(4, 4), (1, 7), (3, 2, 3)])
def test_parts_of_a_batch_add_up_to_the_whole(term, parts):
    random = torch.Generator().manual_seed(5)
    student, teacher = torch.randn(2, 8, 6, generator=random)
    present = torch.rand(8, 4, generator=random) < 0.6
    present[:, 1] = True
    present[:, 0] = tensor([True, False, False, False, True, True, False, False])  # no right one is known of the others
    whole = Targets(teacher, torch.arange(8), torch.randn(8, 4, 6, generator=random), present)
    starts = [sum(parts[:index]) for index in range(len(parts))]
    slices = [slice(start, start + size) for start, size in zip(starts, parts, strict=True)]
    summed = sum(size / 8 * term().loss(student[rows], whole[rows]) for size, rows in zip(parts, slices, strict=True))
    assert summed.item() == pytest.approx(term().loss(student, whole).item(), rel=1e-5)
