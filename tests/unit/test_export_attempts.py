"""A format that can be written in several ways is written in the next one where a bound breaks, and says what broke."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

import langtailor.export.run
from langtailor.config.export import Bounds
from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ExportError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.run import run_task
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks.sts import StsTask
from langtailor.export.format import Source
from langtailor.export.onnx.format import OnnxFormat
from langtailor.export.onnx.graph import write_graph
from langtailor.export.run import Request, export_student
from langtailor.storage.artifacts import Manifest, read_json, seal_directory
from tests.unit.export_world import make_student

SETTINGS = TeacherSettings(model="tiny")
WORDS = ["deniz", "mavi", "ev", "the old ferry", "on sekiz", "kitap", "a walnut tree", "yol", "bir gemi", "su"]
#: The vectors may be any; the correlation with the student's own similarities may not fall.
BOUNDS = Bounds(-1.0, -1.0, 0.5)


class SecondTry(OnnxFormat):
    """First another model, then the student."""

    name = "onnx"
    bounds = BOUNDS
    file = "onnx/model.onnx"

    def __init__(self, models: list[SentenceTransformer]) -> None:
        self.models = models

    def write(self, source: Source, out: Path):
        for number, model in enumerate(self.models):
            write_graph(model, source.prompt, out)
            yield {"model": number}


@pytest.fixture
def request_of(tmp_path):
    """The student, and a request to export it, judged by a task on which it is perfect."""
    model, folder = make_student(tmp_path, "bert")
    seal_directory(folder, Manifest("student", {}, {}, {}))
    vectors = model.encode(WORDS)
    pairs = [(first, second) for first in range(len(WORDS)) for second in range(first)]
    lines = [f"{WORDS[one]}\t{WORDS[two]}\t{vectors[one] @ vectors[two]}" for one, two in pairs]
    file = tmp_path / "pairs.tsv"
    file.write_text("\n".join(["sentence1\tsentence2\tscore", *lines]) + "\n", encoding="utf-8")
    task = StsTask(kind="sts", path=str(file))
    inputs = Inputs({}, {})
    (tmp_path / "scores").mkdir()
    run_task("sts", task, Evaluator(folder, SETTINGS, 10, 0, "cpu"), inputs, tmp_path / "scores" / "sts.json")
    scores = tmp_path / "scores"
    return model, Request(folder, "onnx", BOUNDS, SETTINGS, {}, {"sts": task}, inputs, scores, 10, 0, threads=1)


def other_model(root: Path) -> SentenceTransformer:
    model, _ = make_student(root, "bert")
    for parameter in model.parameters():
        parameter.data = parameter.data.flip(0).contiguous()
    return model


def test_the_next_way_is_taken_where_a_task_loses_too_much(request_of, tmp_path, monkeypatch):
    model, request = request_of
    made = SecondTry([other_model(tmp_path / "other"), model])
    monkeypatch.setattr(langtailor.export.run, "find_format", lambda name: made)
    export_student(request, tmp_path / "export")
    certificate = read_json(tmp_path / "export" / "certificate.json", "export certificate")
    assert certificate["facts"]["model"] == 1
    assert [said.partition(":")[0] for said in certificate["facts"]["refused"]] == ["sts"]
    assert certificate["tasks"]["sts"]["export"] > 99.9


def test_without_another_way_the_export_is_kept_aside(request_of, tmp_path, monkeypatch):
    _, request = request_of
    made = SecondTry([other_model(tmp_path / "other")])
    monkeypatch.setattr(langtailor.export.run, "find_format", lambda name: made)
    with pytest.raises(ExportError, match="onnx is too far from the student: sts: "):
        export_student(request, tmp_path / "export")
    refused = read_json(tmp_path / "export.refused" / "certificate.json", "export certificate")
    assert refused["facts"]["model"] == 0
    assert refused["broken"]
    assert not (tmp_path / "export").exists()
