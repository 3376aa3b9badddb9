"""Validation: means over passages, whatever the sizes of languages and batches, by a student that does not drop units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from langtailor.config.distillation import DistillationSettings, ObjectiveSettings
from langtailor.distillation.data import load_data
from langtailor.distillation.objective import Objective
from langtailor.distillation.sts_pairs import StsDevSet
from langtailor.distillation.student import Student
from langtailor.distillation.validation import SplitMetrics, Validation, Validator, measure
from langtailor.objectives.term import Targets
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import DEFAULTS, make_world

#: Errors of seven passages in one of two dimensions; cosines to (1, 0) are 1 where there is none.
ERRORS = [0.0, 2.0, 0.0, 4.0, 6.0, 0.0, 8.0]
LANGUAGES = {"de": slice(0, 5), "tr": slice(5, 7)}


def measured(batch_size: int) -> Validation:
    teacher = torch.tensor([[1.0, 0.0]] * len(ERRORS))
    student = torch.tensor([[1.0, error] for error in ERRORS])
    return measure(
        student,
        Targets(teacher, torch.arange(len(teacher))),
        LANGUAGES,
        Objective(ObjectiveSettings(cosine=0, mse=1)),
        batch_size,
    )


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_losses_are_means_over_passages_whatever_the_batches(batch_size):
    """The squared errors, halved by the two dimensions: (4 + 16 + 36) / 2 over five, 64 / 2 over two."""
    validation = measured(batch_size)
    assert validation.languages["de"].loss == pytest.approx(56 / 2 / 5)
    assert validation.languages["tr"].loss == pytest.approx(64 / 2 / 2)
    assert validation.overall.loss == pytest.approx(120 / 2 / 7)


def test_cosines_are_means_over_passages():
    cosines = [1 / (1 + error**2) ** 0.5 for error in ERRORS]
    validation = measured(2)
    assert validation.languages["de"].cosine == pytest.approx(sum(cosines[:5]) / 5)
    assert validation.overall.cosine == pytest.approx(sum(cosines) / 7)
    assert [metrics.passages for metrics in (validation.overall, *validation.languages.values())] == [7, 5, 2]


@pytest.mark.parametrize(("vectors", "spearman"), [([[1, 0], [1, 0], [1, 0]], 0.0), ([[1, 0], [0, 1], [1, 1]], 100.0)])
def test_a_student_that_finds_all_pairs_alike_scores_nothing_on_sts(vectors, spearman):
    rows = np.array([0, 1, 2]), np.array([1, 2, 2])
    dev_set = StsDevSet((), *rows, gold=np.array([1.0, 2.0, 3.0]), digest="")
    assert dev_set.spearman(torch.tensor(vectors, dtype=torch.float32)) == pytest.approx(spearman)


def test_less_is_better_for_what_weights_are_kept_by():
    validation = Validation(SplitMetrics(0.5, 0.75, 1), {}, sts=80.0)
    assert [validation.cost(keep) for keep in ("loss", "cosine", "sts")] == [0.5, -0.75, -80.0]


def test_metrics_for_the_log_name_the_languages_and_leave_out_what_was_not_measured():
    metrics = SplitMetrics(0.5, 0.75, 3)
    plain = {"loss": 0.5, "cosine": 0.75, "passages": 3}
    assert Validation(metrics, {"tr": metrics}).to_json() == {**plain, "languages": {"tr": plain}}
    assert Validation(metrics, {}, sts=80.0).to_json() == {**plain, "sts": 80.0, "languages": {}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


def test_validation_drops_no_units_and_training_goes_on_with_dropout(world):
    settings = DistillationSettings(**DEFAULTS, dropout=True)
    data = load_data(world.clone, world.tokens, world.vectors, settings)
    student = Student(world.clone, settings, torch.device("cpu"))
    objective = Objective(settings.objective)
    validate = Validator(Accelerator(cpu=True), student, objective, data.validation, batch_size=8)
    student.train(True)
    first, second = validate(500), validate(500)
    assert first == second, "the same model gives the same figures"
    assert student.model.training
    plain = Student(world.clone, DistillationSettings(**DEFAULTS), torch.device("cpu"))
    assert Validator(Accelerator(cpu=True), plain, objective, data.validation, batch_size=8)(500) == first
