"""How many tokens a micro-batch may have: what a token takes is measured, what must stay free is left free."""

from __future__ import annotations

import pytest
import torch

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.data import Passages, load_data
from langtailor.distillation.memory import affordable_tokens
from langtailor.distillation.student import Student
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import DEFAULTS, make_world

BYTES_A_TOKEN = 73_000


class Device:
    """A device's memory, of which a pass takes a copy of the weights and so much a token."""

    def __init__(self, free: int) -> None:
        self._free, self.weights, self.tokens = free, 0, 0

    def free(self) -> int:
        return self._free

    def allocated(self) -> int:
        return 10**9

    def peak(self) -> int:
        return 10**9 + self.weights + self.tokens * BYTES_A_TOKEN


class OnDevice(Student):
    """A student that tells a device what it reads."""

    memory: Device
    fails = False

    def __call__(self, ids):
        self.memory.tokens = len(ids) * max(map(len, ids))
        if self.fails:
            raise torch.OutOfMemoryError("no room")
        return super().__call__(ids)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


@pytest.fixture
def student(world) -> OnDevice:
    return OnDevice(world.clone, DistillationSettings(**DEFAULTS), torch.device("cpu"))


@pytest.fixture
def passages(world) -> Passages:
    return load_data(world.clone, world.tokens, world.vectors, DistillationSettings(**DEFAULTS)).train


def affordable(student: OnDevice, passages: Passages, free: int) -> int:
    student.memory = Device(free)
    student.memory.weights = 4 * sum(parameter.numel() for parameter in student.parameters().values())
    return affordable_tokens(student, passages, student.memory)


@pytest.mark.parametrize(("room", "tokens"), [(5_000, 4_096), (24_000, 23_552), (10**6, 131_072)])
def test_a_micro_batch_fills_what_gradients_and_moments_and_a_tenth_leave(student, passages, room, tokens):
    weights = 4 * sum(parameter.numel() for parameter in student.parameters().values())
    assert affordable(student, passages, int((3 * weights + room * BYTES_A_TOKEN) / 0.9)) == tokens


def test_the_longest_passage_is_always_allowed(student, passages):
    assert affordable(student, passages, 1) == passages.lengths.max()


def test_a_pass_that_does_not_fit_allows_one_passage(student, passages, caplog):
    student.fails = True
    assert affordable(student, passages, 10**9) == passages.lengths.max()
    assert "out of memory" in caplog.text


def test_the_pass_leaves_nothing_behind(student, passages):
    before = student.state()
    affordable(student, passages, 10**9)
    assert all(torch.equal(value, before[name]) for name, value in student.state().items())
    assert all(parameter.grad is None for parameter in student.parameters().values())
