"""What a run does when something fails on its way must leave no trace in the student."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from langtailor.config.distillation import DistillationSettings, ObjectiveSettings
from langtailor.distillation.data import load_data
from langtailor.distillation.gradients import BatchGradient
from langtailor.distillation.objective import Objective
from langtailor.distillation.run import Run
from langtailor.distillation.student import Student
from langtailor.storage.artifacts import directory_digest, read_manifest
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import DEFAULTS, WEIGHTS, World, make_world

ROWS = np.arange(3, 27)
PER_PASSAGE = {"cosine": 1.0, "mse": 2.0}
ACROSS = {"cosine": 1.0, "relational": 5.0, "contrastive": 0.1}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


# --- memory that runs out in the middle of a batch


class OutOfMemoryOnce(Student):
    """A student on a device that has no room, once, for the pass that holds the shortest passage of the batch.

    Passes go from the longest passages to the shortest: by then the passes before have left their gradients.
    """

    shortest = 0
    failed = False

    def __call__(self, ids):
        if torch.is_grad_enabled() and not self.failed and min(map(len, ids)) == self.shortest:
            self.failed = True
            raise torch.OutOfMemoryError("no room")
        return super().__call__(ids)


def gradient(world, student, settings, terms, budget):
    """The gradient of all parameters on one batch, as one vector, and the budget that is left."""
    student.unfreeze("everything")
    student.wrap(student.model)
    student.train(True)
    data = load_data(world.clone, world.tokens, world.vectors, settings)
    objective = Objective(ObjectiveSettings(**terms))
    compute = BatchGradient(Accelerator(cpu=True), student, objective, data.train, budget, seed=1)
    compute(ROWS, step=0)
    student.densify_gradient("everything")
    return torch.cat([p.grad.flatten() for p in student.parameters().values() if p.grad is not None]), compute.budget


def shortest_passage(world, settings):
    data = load_data(world.clone, world.tokens, world.vectors, settings)
    return int(data.train.lengths[ROWS].min())


WAYS = {"on cores": (PER_PASSAGE, False), "in turn": (PER_PASSAGE, True), "in two passes": (ACROSS, False)}


@pytest.mark.parametrize(("terms", "dropout"), WAYS.values(), ids=WAYS)
def test_a_later_pass_that_runs_out_of_memory_leaves_no_gradient_of_the_passes_before_it(world, terms, dropout):
    settings = DistillationSettings(**DEFAULTS, dropout=dropout)
    plain, _ = gradient(world, Student(world.clone, settings, torch.device("cpu")), settings, terms, 30)
    student = OutOfMemoryOnce(world.clone, settings, torch.device("cpu"))
    student.shortest = shortest_passage(world, settings)
    repeated, budget = gradient(world, student, settings, terms, 60)
    assert student.failed
    assert budget == 30
    assert torch.allclose(repeated, plain, rtol=1e-4, atol=1e-6)


# --- a run that is interrupted and taken up


class InterruptedRunError(Exception):
    """A process that ends."""


def interrupt_after(monkeypatch, steps):
    """Let the run end, as when its process is killed, once so many steps are done."""
    take = Run._step

    def step(run):
        if run._done.step == steps:
            raise InterruptedRunError
        return take(run)

    monkeypatch.setattr(Run, "_step", step)


def interrupted(world, tmp_path, monkeypatch, steps, **settings):
    """Checkpoints of a run that was interrupted."""
    with monkeypatch.context() as patched, pytest.raises(InterruptedRunError):
        interrupt_after(patched, steps)
        world.distil(tmp_path / "student", tmp_path / "checkpoints", **settings)
    assert any(path.name.startswith("step-") for path in (tmp_path / "checkpoints").iterdir())
    return tmp_path / "checkpoints"


def test_a_checkpoint_made_from_other_inputs_is_never_taken_up(world, tmp_path, monkeypatch, caplog):
    settings = {"epochs": 1, "checkpoint_minutes": 0.0}
    expected = World(world.root, ("tr",)).distil(tmp_path / "expected", **settings)
    checkpoints = interrupted(world, tmp_path, monkeypatch, 4, **settings)
    with caplog.at_level(logging.INFO, "langtailor"):
        found = World(world.root, ("tr",)).distil(tmp_path / "student", checkpoints, **settings)
    assert "belongs to other settings or inputs: not resumed, removed" in caplog.text
    assert directory_digest(found) == directory_digest(expected)


def test_a_run_taken_up_behind_its_best_look_still_keeps_the_best_weights(world, tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "_cost", lambda run, _: abs(run._done.step - 5.0))  # step 5 is the best
    settings = {"epochs": 1, "checkpoint_minutes": 0.0, "validate_every": 5}
    expected = world.distil(tmp_path / "expected", **settings)
    assert read_manifest(expected, "distilled").facts["kept_step"] == 5
    checkpoints = interrupted(world, tmp_path, monkeypatch, 9, **settings)
    found = world.distil(tmp_path / "student", checkpoints, **settings)
    assert directory_digest(found) == directory_digest(expected)


def test_a_run_goes_on_with_the_moments_of_its_optimiser(world, tmp_path, monkeypatch):
    settings = {"epochs": 1, "checkpoint_minutes": 0.0, "keep": "last"}
    expected = world.distil(tmp_path / "expected", **settings)
    checkpoints = interrupted(world, tmp_path, monkeypatch, 6, **settings)
    found = world.distil(tmp_path / "student", checkpoints, **settings)
    assert (found / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()
