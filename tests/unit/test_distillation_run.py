"""The training loop: each step takes the clipped gradient of its own batch, each phase starts with new moments."""

from __future__ import annotations

import json
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.checkpoints import Checkpoints
from langtailor.distillation.data import load_data
from langtailor.distillation.gradients import BatchGradient
from langtailor.distillation.objective import Objective
from langtailor.distillation.run import Run
from langtailor.distillation.stream import Stream
from langtailor.distillation.student import Student
from langtailor.storage.artifacts import read_manifest
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import DEFAULTS, WEIGHTS, make_world

SEED = 7


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


def test_a_step_takes_the_gradient_of_its_own_batch_alone(world, tmp_path):
    """At a rate of next to nothing the model stays the clone, so that the clone gives the gradient of every step."""
    changes = {"learning_rate": 1e-30, "embedding_learning_rate": 1e-30, "epochs": 0.5, "weight_decay": 0.0}
    student = world.distil(tmp_path / "student", seed=SEED, **changes)
    records = [json.loads(line) for line in (student / "training.jsonl").read_text().splitlines()]
    norms = [record["gradient_norm"] for record in records if "loss" in record]
    settings = DistillationSettings(**{**DEFAULTS, **changes})
    data = load_data(world.clone, world.tokens, world.vectors, settings)
    stream = Stream([rows.stop - rows.start for rows in data.train.languages.values()], [1.0, 1.0], SEED)
    assert len(norms) >= 4
    for step, norm in enumerate(norms):
        clone = Student(world.clone, settings, torch.device("cpu"))
        clone.unfreeze("everything")
        clone.train(True)
        gradient = BatchGradient(Accelerator(cpu=True), clone, Objective(settings.objective), data.train, 16_384, SEED)
        gradient(stream.take(step * settings.batch_size, settings.batch_size), step)
        clone.densify_gradient("everything")
        squares = [float(p.grad.square().sum()) for p in clone.parameters().values() if p.grad is not None]
        assert norm == pytest.approx(sum(squares) ** 0.5, rel=1e-4), f"step {step}"


def test_gradients_are_clipped_before_they_are_applied(world, tmp_path):
    """Far below the optimiser's epsilon of 1e-8 a gradient moves nothing; unclipped, each step moves by the rate."""
    changes = {"epochs": 0.5, "weight_decay": 0.0, "keep": "last"}
    clone = load_file(world.clone / WEIGHTS)
    moved = {}
    for clip_norm in (1.0, 1e-12):
        student = load_file(world.distil(tmp_path / f"clipped {clip_norm}", clip_norm=clip_norm, **changes) / WEIGHTS)
        moved[clip_norm] = max(float((student[name] - clone[name]).abs().max()) for name in clone)
    assert moved[1e-12] < 0.01 * moved[1.0]


def test_every_phase_starts_with_new_moments_and_keeps_them_to_its_end(world, tmp_path):
    settings = DistillationSettings(**DEFAULTS, new_rows_only=0.25, embeddings_only=0.25)
    data = load_data(world.clone, world.tokens, world.vectors, settings)
    student = Student(world.clone, settings, torch.device("cpu"))
    run = Run(Accelerator(cpu=True), student, data, settings, SEED, Checkpoints(tmp_path, "x"), tmp_path)
    ends = [phase.end for phase in run._phases]
    optimizers = [run._enter(step)[1] for step in range(ends[-1])]
    borders = np.flatnonzero([one is not other for one, other in pairwise(optimizers)]) + 1
    assert borders.tolist() == ends[:-1]


@pytest.mark.parametrize("keep", ["last", "loss"])
def test_an_interpolated_student_lies_between_clone_and_trained_model(world, tmp_path, keep):
    clone = load_file(world.clone / WEIGHTS)
    trained = load_file(world.distil(tmp_path / "trained", keep=keep) / WEIGHTS)
    student = load_file(world.distil(tmp_path / "student", keep=keep, interpolation=0.25) / WEIGHTS)
    assert any(not torch.equal(trained[name], clone[name]) for name in clone)
    for name, start in clone.items():
        torch.testing.assert_close(student[name], start + 0.25 * (trained[name] - start))


def test_the_facts_after_training_are_those_of_the_interpolated_student(world, tmp_path):
    facts = {
        share: read_manifest(world.distil(tmp_path / f"{share}", interpolation=share), "distilled").facts
        for share in (1.0, 0.5)
    }
    losses = {share: found["after"]["loss"] for share, found in facts.items()}
    assert facts[0.5]["before"] == facts[1.0]["before"]
    assert losses[1.0] < losses[0.5] < facts[1.0]["before"]["loss"]


@pytest.mark.parametrize("shares", [[0.25, 0.75, 0.5], [1.0, 0.5]])
def test_the_best_share_on_the_validation_split_is_kept(world, tmp_path, shares):
    alone = {share: world.distil(tmp_path / f"{share}", interpolation=share) for share in shares}
    losses = {share: read_manifest(student, "distilled").facts["after"]["loss"] for share, student in alone.items()}
    student = world.distil(tmp_path / "student", interpolation=shares)
    found, best = read_manifest(student, "distilled").facts, min(losses, key=losses.get)
    assert (found["interpolation"], found["interpolations"]) == (best, shares)
    assert found["after"]["loss"] == losses[best]
    assert (student / WEIGHTS).read_bytes() == (alone[best] / WEIGHTS).read_bytes()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_step_on_a_gpu_waits_for_it_no_more_than_once_a_micro_batch(world, tmp_path):
    """transformers looks once a forward pass whether a mask has padding; nothing else may wait."""
    AcceleratorState._reset_state(reset_partial_state=True)
    settings = DistillationSettings(**{**DEFAULTS, "micro_batch_tokens": 64})
    data = load_data(world.clone, world.tokens, world.vectors, settings)
    student = Student(world.clone, settings, torch.device("cuda"))
    store = Checkpoints(tmp_path / "checkpoints", "fingerprint")
    run = Run(Accelerator(), student, data, settings, SEED, store, tmp_path / "live")
    passes, compute = [], student.model.forward
    student.model.forward = lambda *inputs, **options: passes.append(1) or compute(*inputs, **options)
    for _ in range(3):  # of which the first allocate
        passes.clear()
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            launched = run._launch()
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(each.message) for each in caught if "synchroniz" in str(each.message)]
    assert launched.ready is not None
    assert len(waits) <= len(passes)
    AcceleratorState._reset_state(reset_partial_state=True)
