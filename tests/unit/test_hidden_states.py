"""Hidden states of a student with fewer layers, against those of the clone with all layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from torch import Tensor

from langtailor.config.distillation import DistillationSettings
from langtailor.config.student import StudentSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.distillation.hidden_states import HiddenStateErrors, WholeClone
from langtailor.distillation.student import Student
from langtailor.distillation.train import distil
from langtailor.errors import ConfigError
from langtailor.reduction.reduce import reduce_clone
from langtailor.storage.artifacts import Manifest, seal_directory
from tests.models import (
    make_tiny_bert_teacher,
    make_tiny_gemma_teacher,
    make_tiny_modernbert_teacher,
    make_tiny_qwen3_teacher,
    make_tiny_xlmr_teacher,
)
from tests.unit.distillation_world import (
    DEFAULTS,
    WEIGHTS,
    World,
    embedding_name,
    make_world,
    write_mapping,
)
from tests.unit.test_reduction import FACTS

TEXTS = ["the ferry leaves at eight", "kapı", "a b c d e f g h i j k l m n"]
CPU = torch.device("cpu")
FAMILIES = {
    "bert": make_tiny_bert_teacher,
    "xlmr": make_tiny_xlmr_teacher,
    "modernbert": make_tiny_modernbert_teacher,
    "gemma": make_tiny_gemma_teacher,
    "qwen3": make_tiny_qwen3_teacher,
}


def make_clone(folder: Path, make_teacher: Callable[[Path], Path]) -> Path:
    make_teacher(folder)
    tensors = load_file(folder / WEIGHTS)
    write_mapping(folder / "mapping.parquet", len(tensors[embedding_name(tensors)]))
    seal_directory(folder, Manifest("clone", {"method": "mean"}, {"teacher": "t"}, FACTS))
    return folder


def states_of(clone: Path, features: dict[str, Tensor]) -> list[Tensor]:
    """The hidden states of a clone, as transformers gives them: before the first layer and after each."""
    model: Any = SentenceTransformer(str(clone), device="cpu", local_files_only=True)[0].auto_model
    inputs = {name: features[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        return list(model(**inputs, output_hidden_states=True).hidden_states)


def preprocessed(clone: Path, texts: list[str]) -> dict[str, Tensor]:
    return dict(SentenceTransformer(str(clone), device="cpu", local_files_only=True).preprocess(texts))


@pytest.mark.parametrize("family", ["bert", "gemma"])
def test_errors_are_relative_to_the_variance_of_the_clones_states(family: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", FAMILIES[family])
    features = preprocessed(clone, TEXTS)
    states = states_of(clone, features)
    last = len(states) - 2
    compared = HiddenStateErrors(WholeClone(clone, (0, last)), CPU)
    compared.measure_variances(preprocessed(clone, [text]) for text in TEXTS)
    offsets, mask = (0.5, 3.0), features["attention_mask"].bool()
    # What is said of padding does not count, nor the state before all layers.
    student = [
        torch.where(mask[..., None], state + offset, 99.0)
        for state, offset in zip((states[1], states[-1]), offsets, strict=True)
    ]
    found = compared.errors(features, [torch.full_like(states[0], 7.0), *student])
    alone = [states_of(clone, preprocessed(clone, [text])) for text in TEXTS]
    variances = [
        np.concatenate([each[place][0].numpy() for each in alone]).astype(np.float64).var(axis=0).mean()
        for place in (1, -1)
    ]
    expected = np.mean([offset**2 / variance for offset, variance in zip(offsets, variances, strict=True)])
    np.testing.assert_allclose(found, np.full((len(TEXTS), 1), expected), rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_with_all_layers_has_the_clones_states_and_its_vectors(family: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", FAMILIES[family])
    layers = len(states_of(clone, preprocessed(clone, TEXTS))) - 1
    settings = DistillationSettings(**DEFAULTS)
    student = Student(clone, settings, CPU, whole=WholeClone(clone, tuple(range(layers))))
    ids = [np.array(student.model.tokenizer(text)["input_ids"], np.int32) for text in TEXTS]
    student.measure_hidden_states(ids)
    outputs = student.outputs(ids).detach()
    np.testing.assert_allclose(outputs[:, -1], 0, atol=1e-6)
    np.testing.assert_allclose(outputs[:, :-1], Student(clone, settings, CPU)(ids).detach(), atol=1e-6)


def test_the_whole_clone_is_that_of_the_reduced_one(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", make_tiny_bert_teacher)
    reading = TeacherSettings(model="./teacher")
    reduce_clone(clone, {}, StudentSettings(layers=[1]), tmp_path / "small", corpora={}, reading=reading)
    assert WholeClone.of(clone, tmp_path / "small") == WholeClone(clone, (1,))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


def test_training_brings_hidden_states_nearer_and_leaves_the_students_files_alone(world: World, tmp_path: Path) -> None:
    training = world.training(tmp_path / "out", objective={"cosine": 1.0, "hidden_states": 0.5}, epochs=6)
    distil(training, "cpu")
    lines = [json.loads(line) for line in (training.out / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    errors = [line["hidden_states"] for line in lines if "hidden_states" in line]
    assert 0 < np.mean(errors[-4:]) < 0.8 * np.mean(errors[:4])
    manifest = json.loads((training.out / "manifest.json").read_text(encoding="utf-8"))
    assert training.whole is not None
    assert manifest["inputs"]["whole"] == training.whole.digest()
    assert manifest["facts"]["after"]["loss"] < manifest["facts"]["before"]["loss"]
    config = (training.out / "config.json").read_bytes()
    assert config == (world.clone / "config.json").read_bytes()


def test_without_the_whole_clone_a_weight_is_refused(world: World, tmp_path: Path) -> None:
    training = world.training(tmp_path / "out", objective={"cosine": 1.0, "hidden_states": 0.5})
    with pytest.raises(
        ConfigError, match=r"`distillation.objective.hidden_states`: it needs the clone with all layers"
    ):
        distil(replace(training, whole=None), "cpu")
