"""What `precision` does: bfloat16 in the arithmetic, float32 in the weights and in the vectors that come out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation import student as student_module
from langtailor.distillation.student import Student
from langtailor.models import precision as precision_module
from langtailor.models.precision import computes_bfloat16
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import DEFAULTS, make_world

PASSAGES = [np.array([7, 30, 31, 8], np.int32), np.array([7, 40, 8], np.int32)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher, languages=("tr",), splits=(8, 2, 1))


@pytest.fixture(autouse=True)
def able(request, monkeypatch):
    """The processor has arithmetic for bfloat16, or a test says otherwise."""
    able = getattr(request, "param", True)
    monkeypatch.setattr(student_module, "computes_bfloat16", lambda _: able)


def make_student(world, precision):
    return Student(world.clone, DistillationSettings(**DEFAULTS, precision=precision), torch.device("cpu"))


def precisions(student, *, training):
    """Of what the linear layers of the model give."""
    found = set()
    layers = [module for module in student.model.modules() if isinstance(module, torch.nn.Linear)]
    hooks = [layer.register_forward_hook(lambda _, __, out: found.add(out.dtype)) for layer in layers]
    with torch.set_grad_enabled(training):
        student(PASSAGES)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("training", [True, False], ids=["training", "looking on"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_layers_compute_in_the_precision_that_is_asked_for(world, precision, training):
    assert precisions(make_student(world, precision), training=training) == {getattr(torch, precision)}


def test_bfloat16_leaves_weights_gradients_and_vectors_in_float32(world):
    student = make_student(world, "bfloat16")
    vectors = student(PASSAGES)
    vectors.square().sum().backward()
    student.densify_gradient("everything")
    assert vectors.dtype == torch.float32
    assert {value.dtype for value in student.parameters().values()} == {torch.float32}
    assert {value.grad.dtype for value in student.parameters().values() if value.grad is not None} == {torch.float32}


def test_bfloat16_gives_almost_the_vectors_of_float32(world):
    exact, rounded = (make_student(world, precision)(PASSAGES) for precision in ("float32", "bfloat16"))
    assert not torch.equal(exact, rounded)
    assert torch.cosine_similarity(exact, rounded).min() > 0.99


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_attention_computes_in_float32_on_a_cpu(world, monkeypatch, precision):
    """torch has no fast backward pass of attention in bfloat16 there."""
    attend, dtypes = torch.nn.functional.scaled_dot_product_attention, set()

    def noted(query, key, value, **options):
        dtypes.update(tensor.dtype for tensor in (query, key, value))
        return attend(query, key, value, **options)

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", noted)
    make_student(world, precision)(PASSAGES)
    assert dtypes == {torch.float32}


@pytest.mark.parametrize("able", [False], indirect=True)
def test_a_processor_without_bfloat16_computes_in_float32_and_says_so(world, caplog):
    assert precisions(make_student(world, "bfloat16"), training=True) == {torch.float32}
    assert "this cpu has no arithmetic for bfloat16: computing in float32" in caplog.text
    caplog.clear()
    make_student(world, "float32")
    assert not caplog.records


@pytest.mark.parametrize(
    ("capabilities", "able"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": True, "amx_bf16": True}, True),
        ({"architecture": "aarch64", "bf16": True}, True),
        ({"architecture": "aarch64", "bf16": False}, False),
        ({}, False),
    ],
)
def test_a_processor_s_instructions_say_whether_it_has_bfloat16(monkeypatch, capabilities, able):
    monkeypatch.setattr(precision_module.torch.cpu, "get_capabilities", lambda: capabilities)
    assert computes_bfloat16(torch.device("cpu")) is able
