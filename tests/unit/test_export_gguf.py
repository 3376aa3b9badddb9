"""GGUF files: llama.cpp reads text and computes vectors as the student does; what it cannot hold is refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from langtailor.errors import ExportError
from langtailor.export.certificate import Cosines
from langtailor.export.format import find_format
from langtailor.export.gguf_file import write_gguf
from langtailor.export.gguf_kinds import quantize, stored_as
from langtailor.export.llama_client import LlamaClient
from langtailor.export.scripts import texts_in_many_scripts
from langtailor.models.loading import load_sentence_transformer
from tests.models import HIDDEN, make_tiny_bert_teacher, make_tiny_model, write_dense
from tests.unit.export_world import make_export, make_student, student_ids
from tests.unit.surgery_teachers import write_wordpiece

TEXTS = texts_in_many_scripts()
FORMATS = {"gguf-f16": 0.999, "gguf-q8_0": 0.995, "gguf-q4_k_m": 0.98}


def is_hangul(text: str) -> bool:
    return any("가" <= letter <= "힣" for letter in text)


@dataclass(frozen=True)
class Exported:
    """A tiny model, its kind, and its exports' folders and clients by format."""

    model: SentenceTransformer
    kind: str
    folders: dict[str, Path]
    clients: dict[str, LlamaClient]


@pytest.fixture(scope="module", params=["bert", "xlmr"])
def exported(request, tmp_path_factory) -> Exported:
    model, student = make_student(tmp_path_factory.mktemp(request.param), request.param)
    folders = {name: make_export(model, student, name) for name in FORMATS}
    clients = {name: LlamaClient(out / find_format(name).file, out, threads=1) for name, out in folders.items()}
    return Exported(model, request.param, folders, clients)


@pytest.mark.parametrize(("name", "least"), FORMATS.items())
def test_ids_and_vectors_are_the_students(exported, name, least):
    # Of the letters into which BERT's normalizer takes a syllable of Hangul apart, llama.cpp keeps the first alone.
    texts = [text for text in TEXTS if exported.kind != "bert" or not is_hangul(text)]
    client = exported.clients[name]
    assert client.ids(texts) == student_ids(exported.model, texts)
    some = texts[::7]
    assert Cosines.between(client(some), exported.model.encode(some)).least > least


def test_a_wordpiece_does_not_read_hangul_as_the_student_does(exported):
    """What the certificate is for: one such text is enough to refuse the export."""
    texts = [text for text in TEXTS if is_hangul(text)]
    same = exported.clients["gguf-f16"].ids(texts) == student_ids(exported.model, texts)
    assert same == (exported.kind == "xlmr")


def test_vectors_are_scaled_as_the_student_scales_them(exported):
    vectors = exported.clients["gguf-f16"](["deniz mavi", "ev"])
    np.testing.assert_allclose(vectors, exported.model.encode(["deniz mavi", "ev"]), atol=2e-2)


def test_wide_matrices_have_four_bits_and_sensitive_ones_six(tmp_path):
    """A width that llama.cpp's blocks of 256 divide, which those of the other models here are not."""
    write_wordpiece(tmp_path / "student")
    student = make_tiny_model(
        tmp_path / "student", "Bert", hidden_size=256, intermediate_size=512, initializer_range=0.05
    )
    model, out = load_sentence_transformer(student, "cpu"), tmp_path / "model.gguf"
    assert write_gguf(student, model, "q4_k_m", out) == {"F32": 44, "Q4_K": 20, "Q6_K": 5}
    texts = [text for text in TEXTS if not is_hangul(text)][::7]
    client = LlamaClient(out, student, threads=1)
    assert Cosines.between(client(texts), model.encode(texts)).least > 0.95


@pytest.mark.parametrize(
    ("kind", "name", "width", "expected"),
    [
        ("q4_k_m", "token_embd.weight", 768, "Q6_K"),
        ("q4_k_m", "token_embd.weight", 384, "Q8_0"),
        ("q4_k_m", "blk.0.attn_v.weight", 768, "Q6_K"),
        ("q4_k_m", "blk.1.attn_v.weight", 768, "Q4_K"),
        ("q4_k_m", "blk.3.ffn_down.weight", 1536, "Q6_K"),
        ("q4_k_m", "blk.11.ffn_down.weight", 1536, "Q6_K"),
        ("q4_k_m", "blk.3.ffn_up.weight", 384, "Q5_0"),
        ("q4_k_m", "blk.3.ffn_up.weight", 312, "F16"),
        ("q8_0", "blk.3.ffn_up.weight", 312, "F16"),
        ("q4_k_m", "position_embd.weight", 768, "F32"),
    ],
)
def test_a_matrix_is_stored_as_llama_cpp_stores_it(kind, name, width, expected):
    assert stored_as(kind, name, np.zeros((2, width), np.float32), layers=12).name == expected


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K"])
def test_llama_cpps_own_blocks_are_read_by_the_package_gguf(kind):
    stored = gguf.GGMLQuantizationType[kind]
    values = np.random.default_rng(1).normal(size=(5, 512)).astype(np.float32)
    read = gguf.quants.dequantize(quantize(values, stored), stored)
    assert np.sqrt(np.square(read - values).mean()) < {"Q4_K": 0.08, "Q6_K": 0.02}[kind]


def test_the_cards_own_lines_give_the_students_vectors(exported, monkeypatch):
    folder = exported.folders["gguf-q8_0"]
    usage = find_format("gguf-q8_0").usage(folder, [])
    code = usage.split("```python\n")[1].split("```")[0].replace('["...", "..."]', '["deniz mavi bir ev", "ev"]')
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(code, names)
    vectors = np.array(names["vectors"], np.float32)
    assert Cosines.between(vectors, exported.model.encode(["deniz mavi bir ev", "ev"])).least > 0.995


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
    with pytest.raises(ExportError, match="no Dense module after a BERT"):
        make_export(load_sentence_transformer(folder, "cpu"), folder, "gguf-f16")
