from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from transformers.models.bert.modeling_bert import BertAttention

from langtailor.config.distillation import DistillationSettings, ObjectiveSettings
from langtailor.distillation.data import load_data
from langtailor.distillation.gradients import BatchGradient
from langtailor.distillation.objective import Objective
from langtailor.distillation.student import Student
from langtailor.distillation.tokens import Ids
from langtailor.errors import TrainingError
from langtailor.objectives.term import Targets
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import DEFAULTS, make_world, other_weights

ROWS = np.arange(3, 27)
PER_PASSAGE = {"cosine": 1.0, "mse": 2.0}
ACROSS = {"cosine": 1.0, "relational": 5.0, "contrastive": 0.1}
HIDDEN_STATES = {"hidden_states": 0.5}
TERMS = pytest.mark.parametrize(
    "terms",
    [PER_PASSAGE, ACROSS, PER_PASSAGE | HIDDEN_STATES, ACROSS | HIDDEN_STATES],
    ids=["per passage", "across passages", "per passage, hidden states", "across passages, hidden states"],
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


def gradient_of(world, terms, budget, kind=Student, **changes) -> tuple[dict[str, float], torch.Tensor, BatchGradient]:
    """Terms and the gradient of all parameters on one batch, as one vector."""
    settings = DistillationSettings(**{**DEFAULTS, **changes})
    whole = other_weights(world.clone, world.root / "whole") if "hidden_states" in terms else None
    student = kind(world.clone, settings, torch.device("cpu"), whole=whole)
    student.unfreeze("everything")
    student.wrap(student.model)
    student.train(True)
    data = load_data(world.clone, world.tokens, world.vectors, settings)
    student.measure_hidden_states(data.train.tokens(ROWS))
    objective = Objective(ObjectiveSettings(**terms))
    compute = BatchGradient(Accelerator(cpu=True), student, objective, data.train, budget, seed=1)
    found = compute(ROWS, step=0)
    student.densify_gradient("everything")
    gradients = [p.grad.flatten() for p in student.parameters().values() if p.grad is not None]
    return {name: float(value) for name, value in found.items()}, torch.cat(gradients), compute


@TERMS
def test_the_gradient_does_not_depend_on_the_micro_batches(world, terms):
    whole, gradient, _ = gradient_of(world, terms, 100_000)
    for budget in (200, 60, 1):
        found, cut, _ = gradient_of(world, terms, budget)
        assert found == pytest.approx(whole, rel=1e-5)
        assert torch.allclose(cut, gradient, rtol=1e-4, atol=1e-6)
    assert gradient.abs().max() > 1e-3


class InTurn(Student):
    """A student whose micro-batches run one after the other, as those of a GPU and of a student with dropout."""

    has_dropout = True


@TERMS
@pytest.mark.parametrize("budget", [100_000, 60])
def test_micro_batches_in_turn_give_the_gradient_of_those_on_cores(world, terms, budget):
    on_cores, gradient, _ = gradient_of(world, terms, budget)
    in_turn, other, _ = gradient_of(world, terms, budget, kind=InTurn)
    assert in_turn == pytest.approx(on_cores, rel=1e-5)
    assert torch.allclose(other, gradient, rtol=1e-4, atol=1e-6)


def test_a_second_batch_leaves_nothing_of_the_first_in_the_embedding_tables_gradient(world):
    _, _, compute = gradient_of(world, PER_PASSAGE, 500)
    student = compute._student
    gradients = []
    for _ in range(2):
        student.model.zero_grad()
        compute(ROWS, step=0)
        student.densify_gradient("everything")
        gradients.append(student.embedding.grad.clone())
    assert torch.equal(*gradients)


def test_it_is_the_gradient_of_the_objective_on_the_padded_batch(world):
    """Against the plain way: one padded batch, one forward pass, autograd."""
    _, gradient, compute = gradient_of(world, ACROSS, 100)
    student, passages = compute._student, compute._passages
    student.model.zero_grad()
    vectors = student(passages.tokens(ROWS))
    targets = Targets(*(torch.from_numpy(read(ROWS)) for read in (passages.targets, passages.texts)))
    Objective(ObjectiveSettings(**ACROSS))(vectors, targets)["loss"].backward()
    student.densify_gradient("everything")
    plain = torch.cat([p.grad.flatten() for p in student.parameters().values() if p.grad is not None])
    assert torch.allclose(gradient, plain, rtol=1e-4, atol=1e-6)


def test_the_second_forward_pass_drops_the_same_units_as_the_first(world):
    _, _, compute = gradient_of(world, ACROSS, 100, dropout=True)
    forward = compute._forward_pass(ROWS[:4], 0, 0)
    other = compute._forward_pass(ROWS[:4], 0, 1)
    assert torch.equal(forward(), forward())
    assert not torch.equal(forward(), other())


class Seeded(Student):
    """Notes the seed of the generator that dropout draws from, at each forward pass."""

    seeds: list[int]

    def __call__(self, ids: Sequence[Ids]) -> torch.Tensor:
        self.seeds.append(torch.initial_seed())
        return super().__call__(ids)


def test_each_micro_batch_of_each_step_has_masks_of_its_own(world, monkeypatch):
    monkeypatch.setattr(Seeded, "seeds", [], raising=False)
    _, _, compute = gradient_of(world, PER_PASSAGE, 60, kind=Seeded, dropout=True)
    first = list(Seeded.seeds)
    compute(ROWS, step=1)
    second = Seeded.seeds[len(first) :]
    assert len(first) == len(second) > 2
    assert len({*first, *second}) == 2 * len(first)


def test_recomputing_activations_changes_nothing(world):
    _, plain, _ = gradient_of(world, PER_PASSAGE, 500)
    _, recomputed, compute = gradient_of(world, PER_PASSAGE, 500, gradient_checkpointing=True)
    assert torch.allclose(plain, recomputed, rtol=1e-5, atol=1e-7)
    calls = []
    modules = list(compute._student.model.modules())
    assert not any(isinstance(module, torch.nn.Dropout) and module.training for module in modules)
    next(module for module in modules if isinstance(module, BertAttention)).register_forward_hook(
        lambda *_: calls.append(1)
    )
    compute._student(compute._passages.tokens(ROWS)).sum().backward()
    assert len(calls) == 2


class Crowded(Student):
    """A student on a device with room for so many tokens in one micro-batch."""

    room = 80

    def __call__(self, ids: Sequence[Ids]) -> torch.Tensor:
        if len(ids) * max(map(len, ids)) > self.room:
            raise torch.OutOfMemoryError("no room")
        return super().__call__(ids)


@pytest.mark.parametrize("terms", [PER_PASSAGE, ACROSS], ids=["per passage", "across passages"])
def test_out_of_memory_halves_the_micro_batches_and_keeps_the_gradient(world, terms, caplog):
    whole, gradient, _ = gradient_of(world, terms, 500)
    found, cut, compute = gradient_of(world, terms, 500, kind=Crowded)
    assert compute.budget <= Crowded.room
    assert found == pytest.approx(whole, rel=1e-5)
    assert torch.allclose(cut, gradient, rtol=1e-4, atol=1e-6)
    assert "out of memory: continuing with" in caplog.text


def test_a_passage_too_long_for_the_device_is_an_error_that_says_what_to_do(world):
    class Tiny(Crowded):
        room = 3

    with pytest.raises(TrainingError, match=r"lower micro_batch_tokens or max_length"):
        gradient_of(world, PER_PASSAGE, 500, kind=Tiny)
