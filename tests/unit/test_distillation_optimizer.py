"""AdamW: what decays, how fast each group learns, and that its state can be stored."""

from __future__ import annotations

import pytest
import torch

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.optimizer import load_optimizer_state, make_optimizer, optimizer_state, set_rates
from langtailor.distillation.student import Student
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import DEFAULTS, make_world

RATES = {"learning_rate": 1e-3, "embedding_learning_rate": 5e-3, "weight_decay": 0.25}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher, ("tr",), (8, 2, 1))


def make(world, trainable="everything", **changes):
    settings = DistillationSettings(**{**DEFAULTS, **RATES, **changes})
    student = Student(world.clone, settings, torch.device("cpu"))
    student.unfreeze(trainable)
    return student, make_optimizer(student, settings)


def test_matrices_decay_and_biases_norms_and_the_embedding_table_do_not(world):
    _, optimizer = make(world)
    assert {group["name"]: group["weight_decay"] for group in optimizer.param_groups} == {
        "embedding": 0.0,
        "matrices": 0.25,
        "vectors": 0.0,
    }


def test_every_trainable_parameter_is_in_one_group_by_its_shape(world):
    student, optimizer = make(world)
    groups = {group["name"]: group["params"] for group in optimizer.param_groups}
    (table,) = groups["embedding"]
    assert table is student.embedding
    assert all(parameter.ndim > 1 for parameter in groups["matrices"])
    assert all(parameter.ndim == 1 for parameter in groups["vectors"])
    assert sum(map(len, groups.values())) == len(student.parameters())


@pytest.mark.parametrize("trainable", ["new rows", "embeddings"])
def test_a_frozen_backbone_has_no_group(world, trainable):
    _, optimizer = make(world, trainable)
    assert [group["name"] for group in optimizer.param_groups] == ["embedding"]


def test_each_group_learns_at_the_factor_times_its_peak(world):
    _, optimizer = make(world)
    rates = set_rates(optimizer, 0.5)
    assert rates == pytest.approx({"embedding": 2.5e-3, "matrices": 5e-4, "vectors": 5e-4})
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == rates
    assert set_rates(optimizer, 1.0) == pytest.approx({"embedding": 5e-3, "matrices": 1e-3, "vectors": 1e-3})


def test_the_embedding_table_learns_like_the_rest_unless_it_has_a_rate(world):
    _, optimizer = make(world, embedding_learning_rate=None)
    assert {group["peak"] for group in optimizer.param_groups} == {1e-3}


def test_a_stored_state_continues_with_the_same_bits(world):
    def step(student, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        for parameter in student.parameters().values():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()

    (student, optimizer), (other, restored) = make(world), make(world)
    step(student, optimizer, 1)
    other.load(student.state())
    load_optimizer_state(restored, other, optimizer_state(optimizer, student))
    for model, moments in ((student, optimizer), (other, restored)):
        step(model, moments, 2)
    assert all(torch.equal(value, other.state()[name]) for name, value in student.state().items())
