"""GGUF files: llama.cpp reads text and computes vectors as the student does; what it cannot hold is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from langtailor.errors import ExportError
from langtailor.export.certificate import Cosines
from langtailor.export.format import find_format
from langtailor.export.llama_client import LlamaClient
from langtailor.export.scripts import texts_in_many_scripts
from langtailor.models.loading import load_sentence_transformer
from tests.models import HIDDEN, make_tiny_bert_teacher, write_dense
from tests.unit.export_world import make_export, make_student, student_ids

TEXTS = texts_in_many_scripts()


def is_hangul(text: str) -> bool:
    return any("가" <= letter <= "힣" for letter in text)


@pytest.fixture(scope="module", params=["bert", "xlmr"])
def student(request, tmp_path_factory):
    """A tiny model, its kind, and a client of its export by format."""
    model, folder = make_student(tmp_path_factory.mktemp(request.param), request.param)
    clients = {}
    for name in ("gguf-f16", "gguf-q8_0"):
        out = make_export(model, folder, name)
        clients[name] = LlamaClient(out / find_format(name).file, out, threads=1)
    return model, request.param, clients


@pytest.mark.parametrize(("name", "least"), [("gguf-f16", 0.999), ("gguf-q8_0", 0.995)])
def test_ids_and_vectors_are_the_students(student, name, least):
    model, kind, clients = student
    # Of the letters into which BERT's normalizer takes a syllable of Hangul apart, llama.cpp keeps the first alone.
    texts = [text for text in TEXTS if kind != "bert" or not is_hangul(text)]
    assert clients[name].ids(texts) == student_ids(model, texts)
    some = texts[::7]
    assert Cosines.between(clients[name](some), model.encode(some)).least > least


def test_a_wordpiece_does_not_read_hangul_as_the_student_does(student):
    """What the certificate is for: one such text is enough to refuse the export."""
    model, kind, clients = student
    texts = [text for text in TEXTS if is_hangul(text)]
    assert (clients["gguf-f16"].ids(texts) == student_ids(model, texts)) == (kind == "xlmr")


def test_vectors_are_scaled_as_the_student_scales_them(student):
    model, _, clients = student
    vectors = clients["gguf-f16"](["deniz mavi", "ev"])
    np.testing.assert_allclose(vectors, model.encode(["deniz mavi", "ev"]), atol=2e-2)


def test_a_family_without_a_place_in_llama_cpp_is_refused_by_name(tmp_path):
    model, folder = make_student(tmp_path, "gemma")
    with pytest.raises(ExportError, match="of the type 'gemma3_text'"):
        make_export(model, folder, "gguf-f16")


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("config.json", {"hidden_act": "relu"}, "this model has 'relu'"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True},
            "no pooling 'max_tokens'",
        ),
    ],
)
def test_what_llama_cpp_computes_differently_is_refused(tmp_path, file, change, says):
    folder = make_tiny_bert_teacher(tmp_path / "student")
    settings = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps({**settings, **change}), encoding="utf-8")
    with pytest.raises(ExportError, match=says):
        make_export(load_sentence_transformer(folder, "cpu"), folder, "gguf-f16")


def test_a_dense_module_is_refused(tmp_path):
    folder = make_tiny_bert_teacher(tmp_path / "student")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[2] = {**modules[2], "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    write_dense(folder / "2_Dense", HIDDEN, HIDDEN, seed=2)
    with pytest.raises(ExportError, match="no Dense module behind a BERT"):
        make_export(load_sentence_transformer(folder, "cpu"), folder, "gguf-f16")
