"""The run's copy of a teacher has the layout that the libraries write, whatever the original's is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.student import Student, write_student
from langtailor.storage.artifacts import Manifest, seal_directory
from tests.models import (
    HIDDEN,
    make_tiny_bert_teacher,
    make_tiny_gemma_teacher,
    make_tiny_qwen3_teacher,
    make_tiny_xlmr_teacher,
    write_dense,
)
from tests.unit.fetched_teacher import fetched, load

TEXTS = ["Eski vapur her sabah boğazı geçer.", "Nobody remembers who planted the walnut tree."]


def add_module(folder: Path, kind: str, path: str) -> None:
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    place = len(modules)
    module = {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
    (folder / "modules.json").write_text(json.dumps([*modules, module]), encoding="utf-8")


def with_dense_modules(folder: Path, *paths: str) -> Path:
    """A teacher whose Dense modules are in these folders, without the Normalize that the tiny one has."""
    make_tiny_bert_teacher(folder)
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))[:2]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    for number, path in enumerate(paths):
        if not (folder / path).is_dir():
            (folder / path).parent.mkdir(exist_ok=True)
            write_dense(folder / path, HIDDEN, HIDDEN, seed=number)
        add_module(folder, "Dense", path)
    return folder


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


DENSE = {
    "by width": ["2_Dense_1024"],
    "in a folder of folders": ["heads/dense"],
    "each with the other's name": ["3_Dense", "2_Dense"],
    "one folder for two": ["2_Dense", "2_Dense"],
}


@pytest.mark.parametrize("paths", DENSE.values(), ids=DENSE)
def test_modules_are_in_the_folders_in_which_the_library_saves_them(tmp_path: Path, paths: list[str]) -> None:
    original = with_dense_modules(tmp_path / "original", *paths)
    teacher = fetched(original)
    np.testing.assert_array_equal(load(teacher).encode(TEXTS), load(original).encode(TEXTS))
    load(teacher).save_pretrained(str(tmp_path / "saved"))
    assert [module["path"] for module in read(teacher, "modules.json")] == [
        module["path"] for module in read(tmp_path / "saved", "modules.json")
    ]


def test_a_trained_module_is_found_again_beside_an_unused_one_of_its_name(tmp_path: Path) -> None:
    original = with_dense_modules(tmp_path / "original", "2_Dense_1024")
    write_dense(original / "2_Dense", HIDDEN, HIDDEN, seed=9)
    clone = tmp_path / "clone"
    shutil.copytree(fetched(original), clone)
    seal_directory(clone, Manifest("distilled"))
    student = Student(clone, DistillationSettings(precision="float32"), torch.device("cpu"))
    with torch.no_grad():
        student.parameters()["2.linear.weight"].mul_(-2)
    (tmp_path / "student").mkdir()
    write_student(student, clone, tmp_path / "student")
    np.testing.assert_allclose(
        load(tmp_path / "student").encode(TEXTS), -2 * load(original).encode(TEXTS), rtol=1e-4, atol=1e-5
    )


def test_a_teacher_with_the_library_s_names_keeps_its_bytes(tmp_path: Path) -> None:
    original = with_dense_modules(tmp_path / "original", "2_Dense")
    assert (fetched(original) / "modules.json").read_bytes() == (original / "modules.json").read_bytes()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_tiny_bert_teacher, "WordPiece"),
        (make_tiny_xlmr_teacher, "Unigram"),
        (make_tiny_gemma_teacher, "BPE"),
        (make_tiny_qwen3_teacher, "BPE"),
    ],
)
def test_an_old_tokenizer_gets_the_type_of_its_model_and_the_parts_that_it_leaves_out(
    tmp_path: Path, make: Any, kind: str
) -> None:
    original = make(tmp_path / "original")
    spec = read(original, "tokenizer.json")
    del spec["model"]["type"]
    (original / "tokenizer.json").write_text(
        json.dumps({part: content for part, content in spec.items() if content is not None}), encoding="utf-8"
    )
    written = read(fetched(original), "tokenizer.json")
    assert written["model"]["type"] == kind
    assert written.keys() >= spec.keys() - {"version", "truncation", "padding"}
    assert written["normalizer"] == spec["normalizer"]
