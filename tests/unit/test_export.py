"""Exports: the graph is the model, whatever the batch; 8 bits stay near it; a certificate says what does not hold."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer

from langtailor.config.export import Bounds, ExportFormat, ExportSettings, export_format, export_formats
from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ArtifactError, ExportError
from langtailor.evaluation.comparison import Difference
from langtailor.export.certificate import Certificate, Cosines, TaskFigure
from langtailor.export.format import find_format
from langtailor.export.onnx.client import OnnxClient
from langtailor.export.onnx.graph import write_graph
from langtailor.export.onnx.quantization import products, quantize
from langtailor.export.runtime import ExportedModel
from langtailor.export.scripts import SCRIPT_RANGES, texts_in_many_scripts
from langtailor.export.speed import measure
from langtailor.models.encoder import Encoder
from langtailor.models.loading import load_teacher
from tests.models import make_tiny_bert_teacher
from tests.unit.export_world import MAKERS, make_export, make_student

SETTINGS = TeacherSettings(model="tiny")


@pytest.fixture(scope="module", params=MAKERS)
def exported(request, tmp_path_factory):
    """A model, its folder and its graph in float32."""
    root = tmp_path_factory.mktemp(request.param)
    folder = MAKERS[request.param](root / "model")
    model = load_teacher(folder, SETTINGS, "cpu")
    write_graph(model, "query: ", root / "model.onnx")
    return model, folder, root / "model.onnx"


def vectors(model, texts: list[str]) -> np.ndarray:
    return Encoder(model, "", 2_048).encode(texts, "test")


def graph_vectors(model, folder: Path, graph: Path, texts: list[str]) -> np.ndarray:
    return vectors(ExportedModel(model, OnnxClient(graph, folder, 1)), texts)


def test_a_client_reads_its_tokenizer_once(exported, monkeypatch):
    _, folder, graph = exported
    files = []
    for module in ("tokenizers", "langtailor.export.padding", "langtailor.export.graph_client"):
        monkeypatch.setattr(f"{module}.Tokenizer", counting(files), raising=False)
    OnnxClient(graph, folder, 1)
    assert files == [str(folder / "tokenizer.json")]


def test_a_damaged_configuration_of_the_tokenizer_is_named(exported, tmp_path):
    _, folder, graph = exported
    shutil.copytree(folder, tmp_path / "damaged")
    (tmp_path / "damaged" / "tokenizer_config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"tokenizer_config\.json: cannot be read as JSON"):
        OnnxClient(graph, tmp_path / "damaged", 1)


def counting(files: list[str]) -> SimpleNamespace:
    """A tokenizer's class that notes which files it reads."""

    def from_file(file: str) -> Tokenizer:
        files.append(file)
        return Tokenizer.from_file(file)

    return SimpleNamespace(from_file=from_file)


@pytest.mark.timeout(300)
def test_the_graph_is_the_model_for_batches_of_any_size_and_length(exported):
    model, folder, graph = exported
    # A teacher's tokenizer.json may not truncate.
    texts = [text for text in texts_in_many_scripts() if len(text) < 30][::7]
    np.testing.assert_allclose(graph_vectors(model, folder, graph, texts), vectors(model, texts), atol=2e-5)
    client = OnnxClient(graph, folder, 1)
    for some in ([texts[0]], texts[:2], texts[3:20]):
        np.testing.assert_allclose(client(some), model.encode(some), atol=2e-5)


@pytest.mark.timeout(300)
def test_eight_bits_stay_near_the_model(exported, tmp_path):
    model, folder, graph = exported
    texts = texts_in_many_scripts()[::11]
    names = products(graph)
    assert len(names) >= 2 * 4, "two layers, each with its attention's products and two more"
    plain = vectors(model, texts)
    cosines = {}
    for label, exact in {"products": [], "half": names[: len(names) // 2], "weights": names}.items():
        out = tmp_path / f"{label}.onnx"
        quantize(graph, out, exact)
        assert not [*tmp_path.glob("*.partly")]
        assert out.stat().st_size < graph.stat().st_size
        cosines[label] = Cosines.between(graph_vectors(model, folder, out, texts), plain)
    assert cosines["products"].mean > 0.98
    assert cosines["half"].mean > 0.98
    assert cosines["weights"].mean > 0.998


def test_a_process_without_torch_measures_a_graph(exported, tmp_path):
    _, folder, graph = exported
    file = tmp_path / "texts.json"
    file.write_text(json.dumps(["deniz mavi", "ev"] * 40), encoding="utf-8")
    speed = measure(find_format("onnx"), graph, folder, file, 1)
    assert speed.threads == 1
    assert min(speed.sentences_per_s, speed.latency_ms, speed.load_s, speed.memory_mb) > 0
    assert speed.latency_ms <= speed.latency_95_ms
    here = Path("/proc/self/statm").read_text(encoding="utf-8").split()
    assert speed.memory_mb < int(here[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, (
        "this process has torch, that one has not"
    )


def test_a_pooling_that_leaves_out_the_prompt_cannot_be_exported(tmp_path):
    folder = make_tiny_bert_teacher(tmp_path / "model")
    pooling = folder / "1_Pooling" / "config.json"
    settings = json.loads(pooling.read_text(encoding="utf-8"))
    pooling.write_text(json.dumps({**settings, "include_prompt": False}), encoding="utf-8")
    with pytest.raises(ExportError, match="leaves out the prompt"):
        write_graph(load_teacher(folder, SETTINGS, "cpu"), "query: ", tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["onnx", "onnx-fp16", "onnx-int8", "onnx-int8-weights", "openvino"])
def test_weights_that_are_too_large_for_a_graphs_file_are_next_to_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr("langtailor.export.onnx.graph._MOST_BYTES", 0)
    model, student = make_student(tmp_path, "bert")
    folder, made = make_export(model, student, name), find_format(name)
    file, *further = made.files(folder / made.file)
    if name in ("onnx", "onnx-fp16"):
        assert [path.name for path in further] == [f"{file.name}_data"], "8 bits are few enough"
        assert further[0].stat().st_size > 1.5 * sum(parameter.numel() for parameter in model.parameters())
    moved = folder.rename(tmp_path / "elsewhere")
    texts = texts_in_many_scripts()[::40]
    client = made.client()(moved / made.file, moved, 1)
    assert Cosines.between(vectors(made.as_model(model, client), texts), vectors(model, texts)).mean > 0.97


def test_texts_are_of_many_scripts_and_always_the_same():
    texts = texts_in_many_scripts()
    assert texts == texts_in_many_scripts()
    assert len(texts) >= 500
    assert len(SCRIPT_RANGES) >= 25
    for first, last in SCRIPT_RANGES.values():
        assert any(any(first <= letter <= last for letter in text) for text in texts)


GOOD = Certificate(
    Bounds(0.995, 0.97, 0.5),
    500,
    0,
    {"tr": Cosines(0.996, 0.98, 200)},
    {
        "sts": TaskFigure("spearman", 80.0, 79.6, Difference(-0.4, -0.6, -0.2)),
        "acc": TaskFigure("accuracy", 90.0, 80.0, None),
    },
    10,
    40,
    [],
    {"1": 5.0},
    ["input_ids"],
    {},
)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"other_ids": 3}, "3 of 500 texts have other token ids"),
        ({"cosines": {"tr": Cosines(0.9949, 0.98, 200)}}, "tr: mean cosine 0.99490, required: at least 0.995"),
        ({"cosines": {"scripts": Cosines(0.9, 0.8, 200)}}, None),
        ({"cosines": {"tr": Cosines(0.996, 0.9, 200)}}, "tr: least cosine 0.90000, required: at least 0.97"),
        ({"cosines": {"tr": Cosines(float("nan"), float("nan"), 200)}}, "mean cosine nan"),
        (
            {"tasks": {"sts": TaskFigure("spearman", 80.0, 79.4, None)}},
            "sts: 79.40 after the student's 80.00, a drop of at most 0.5",
        ),
    ],
)
def test_a_certificate_says_what_does_not_hold(change, says):
    broken = replace(GOOD, **change).broken()
    assert not broken if says is None else says in "; ".join(broken)


def test_cosines_are_those_of_rows():
    one, other = np.array([[1, 0], [0, 2]], np.float32), np.array([[2, 0], [1, 1]], np.float32)
    assert Cosines.between(one, other) == Cosines(round((1 + 0.5**0.5) / 2, 6), round(0.5**0.5, 6), 2)


def test_bounds_of_the_configuration_stand_in_for_a_format_s_own():
    settings = ExportSettings(formats=("onnx-int8",), least_cosine=0.9)
    assert settings.bounds("onnx-int8") == Bounds(0.995, 0.9, 0.5)
    assert ExportSettings().bounds("onnx") == export_formats()["onnx"].bounds


def test_a_format_that_is_not_registered_is_refused_with_those_that_are():
    with pytest.raises(ValidationError, match=r"'gguf-f16', 'gguf-q4_k_m', 'gguf-q8_0', 'onnx', .* or 'static'"):
        ExportSettings(formats=("onnx-int4",))


def test_two_formats_of_one_name_are_refused():
    class Double(ExportFormat):
        """Another one."""

        name = "onnx"
        bounds = Bounds(0, 0, 0)

    with pytest.raises(ValueError, match="two formats of exports are called 'onnx'"):
        export_format(Double)


def test_cosines_keep_bounds_that_they_reach():
    cosines = Cosines(0.996, 0.98, 200)
    assert cosines.keep(Bounds(0.996, 0.98, 0))
    assert not cosines.keep(Bounds(0.9961, 0.98, 0))
    assert not cosines.keep(Bounds(0.996, 0.981, 0))


def test_the_card_s_own_lines_use_an_export(exported, tmp_path, monkeypatch):
    """The Python block of the section, run as it stands in a folder that has what an export has."""
    model, folder, graph = exported
    shutil.copytree(folder, tmp_path / "export")
    (tmp_path / "export" / "onnx").mkdir()
    shutil.copy(graph, tmp_path / "export" / "onnx" / "model.onnx")
    usage = find_format("onnx").usage(folder, OnnxClient(graph, folder, 1).inputs)
    code = usage.split("```python\n")[1].split("```")[0].replace('["...", "..."]', '["deniz mavi bir ev", "ev"]')
    monkeypatch.chdir(tmp_path / "export")
    names: dict = {}
    exec(code, names)
    np.testing.assert_allclose(names["vectors"], model.encode(["deniz mavi bir ev", "ev"]), atol=2e-5)
