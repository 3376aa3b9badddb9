"""Rates, decay, clipping and the figures of a look, each against numbers that a person can work out."""

from __future__ import annotations

import json

import pytest
import torch

from langtailor.config.distillation import DistillationSettings, ObjectiveSettings
from langtailor.distillation.objective import Objective
from langtailor.distillation.optimizer import make_optimizer, set_rates
from langtailor.distillation.student import Student
from langtailor.distillation.validation import measure
from langtailor.objectives.term import Targets
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import DEFAULTS, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher, languages=("tr",), splits=(16, 4, 1))


def groups_of(world, **settings):
    chosen = DistillationSettings(**{**DEFAULTS, **settings})
    student = Student(world.clone, chosen, torch.device("cpu"))
    student.unfreeze("everything")
    optimizer = make_optimizer(student, chosen)
    return optimizer, {group["name"]: group for group in optimizer.param_groups}


def test_only_matrices_are_decayed_and_the_embeddings_have_their_own_rate(world):
    _, groups = groups_of(world, learning_rate=0.5, embedding_learning_rate=0.25, weight_decay=0.125)
    assert {name: (group["peak"], group["weight_decay"]) for name, group in groups.items()} == {
        "embedding": (0.25, 0.0),
        "matrices": (0.5, 0.125),
        "vectors": (0.5, 0.0),
    }
    assert {value.ndim for value in groups["matrices"]["params"]} == {2}
    assert {value.ndim for value in groups["vectors"]["params"]} == {1}


def test_the_rate_of_a_step_is_its_share_of_each_groups_peak(world):
    optimizer, _ = groups_of(world, learning_rate=0.5, embedding_learning_rate=0.25)
    assert set_rates(optimizer, 0.5) == {"embedding": 0.125, "matrices": 0.25, "vectors": 0.25}
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.25, 0.25]


def records(student):
    rows = [json.loads(line) for line in (student / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "loss" in row]


def test_the_rates_of_a_run_rise_and_fall_as_the_schedule_says(world, tmp_path):
    settings = {"learning_rate": 0.004, "embedding_learning_rate": 0.008, "warmup": 0.25, "epochs": 2}
    found = [row["learning_rate"] for row in records(world.distil(tmp_path / "student", **settings))]
    # Four steps, two of them warm-up: 1/2, 1, 1, 1/2.
    assert [rate["matrices"] for rate in found] == pytest.approx([0.002, 0.004, 0.004, 0.002])
    assert [rate["embedding"] for rate in found] == pytest.approx([0.004, 0.008, 0.008, 0.004])


def test_a_gradient_is_cut_to_the_longest_that_is_allowed(world, tmp_path, monkeypatch):
    norms, step = [], torch.optim.AdamW.step

    def noted(optimizer, *arguments, **options):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
        return step(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    found = records(world.distil(tmp_path / "student", epochs=1, clip_norm=1e-3))
    assert min(row["gradient_norm"] for row in found) > 1e-3, "told is the length before it is cut"
    assert norms == pytest.approx([1e-3] * len(found), rel=1e-3)


def turned(*cosines):
    """Unit vectors with these cosines to the first axis."""
    return torch.tensor([[cosine, (1 - cosine**2) ** 0.5] for cosine in cosines])


def test_every_passage_of_a_look_counts_alike():
    """Cosines 1, 0, 0 of de in batches of two, 0.5 of tr: a mean of means would say otherwise."""
    student = turned(1.0, 0.0, 0.0, 0.5)
    teacher = torch.tensor([[1.0, 0.0]] * 4)
    objective = Objective(ObjectiveSettings(cosine=1.0))
    found = measure(student, Targets(teacher, torch.arange(4)), {"de": slice(0, 3), "tr": slice(3, 4)}, objective, 2)
    assert found.languages["de"].loss == pytest.approx(2 / 3)
    assert found.languages["de"].cosine == pytest.approx(1 / 3)
    assert (found.overall.loss, found.overall.cosine) == pytest.approx((2.5 / 4, 1.5 / 4))
    assert (found.overall.passages, found.languages["de"].passages, found.languages["tr"].passages) == (4, 3, 1)
