"""OpenVINO in 8 bits: text is read and vectors are computed as by the student of any family, and nothing is reported home."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from langtailor.config.export import Bounds
from langtailor.config.teacher import TeacherSettings
from langtailor.export.certificate import Cosines
from langtailor.export.evaluator import ExportEvaluator
from langtailor.export.format import Source, find_format
from langtailor.export.openvino.client import OpenvinoClient
from langtailor.export.openvino.graph import OUTPUTS
from langtailor.export.run import write_export
from langtailor.export.scripts import texts_in_many_scripts
from langtailor.models.child_process import child_environment
from tests.unit.export_world import MAKERS, make_export, make_student, student_ids

TEXTS = texts_in_many_scripts()
CHOSEN_BY = TEXTS[::40]
#: Of random weights, whose vectors 8 bits move further than those of a trained model, and furthest on a processor without
#: instructions for products in 8 bits.
NEAR = Bounds(0.94, 0.85, 0.5) if torch.backends.cpu.get_cpu_capability() == "AVX2" else Bounds(0.97, 0.9, 0.5)
EXACT = Bounds(1.0, 1.0, 0.0)


@dataclass(frozen=True)
class Exported:
    """A tiny model, the folder of its export, what reads it, and what its certificate would say beside the figures."""

    model: SentenceTransformer
    folder: Path
    client: OpenvinoClient
    facts: dict


def export(root: Path, kind: str, bounds: Bounds) -> Exported:
    model, student = make_student(root, kind)
    made, folder = find_format("openvino-int8"), root / "export"
    facts = next(write_export(made, Source(student, model, "", bounds, CHOSEN_BY, root), folder))
    return Exported(model, folder, OpenvinoClient(folder / made.file, folder, threads=1), facts)


@pytest.fixture(scope="module", params=MAKERS)
def exported(request, tmp_path_factory) -> Exported:
    return export(tmp_path_factory.mktemp(request.param), request.param, NEAR)


@pytest.mark.timeout(600)
def test_ids_and_vectors_are_the_students(exported):
    assert exported.facts["way"] == "products in 8 bits"
    assert exported.client.ids(TEXTS) == student_ids(exported.model, TEXTS)
    some = TEXTS[::11]
    assert Cosines.between(exported.client(some), exported.model.encode(some)).mean > NEAR.mean_cosine
    for batch in (["ev"], ["ev", "deniz mavi bir ev"]):
        assert exported.client(batch).shape == (len(batch), exported.model.get_embedding_dimension())


def test_threads_may_share_a_client(exported):
    batches = [TEXTS[start : start + 1 + start % 5] for start in range(0, len(TEXTS), 5)]
    expected = [exported.client(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for found, right in zip(pool.map(exported.client, batches), expected, strict=True):
                np.testing.assert_allclose(found, right, atol=1e-5)


def test_the_graph_is_as_sentence_transformers_expects_it(exported):
    """Its class for OpenVINO asks for ``last_hidden_state``, and refuses graphs with ``token_embeddings``."""
    assert exported.client.outputs == list(OUTPUTS)
    assert {file.name for file in (exported.folder / "openvino").iterdir()} == {
        "openvino_model.xml",
        "openvino_model.bin",
    }


def test_the_cards_own_lines_give_the_exports_vectors(exported, monkeypatch):
    usage = find_format("openvino-int8").usage(exported.folder, exported.client.inputs)
    code = usage.split("```python\n")[1].split("```")[0].replace('["...", "..."]', '["deniz mavi bir ev", "ev"]')
    monkeypatch.chdir(exported.folder)
    names: dict = {}
    exec(code, names)
    assert Cosines.between(names["vectors"], exported.client(["deniz mavi bir ev", "ev"])).least > 0.9999


def test_a_float32_file_keeps_the_vectors(tmp_path):
    model, student = make_student(tmp_path, "gemma")
    folder = make_export(model, student, "openvino")
    client = OpenvinoClient(folder / find_format("openvino").file, folder, threads=1)
    # Where the processor has bfloat16, OpenVINO computes in it.
    assert Cosines.between(client(TEXTS[::11]), model.encode(TEXTS[::11])).least > 0.999


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Exported:
    """An export from which more is asked than products in 8 bits can keep."""
    return export(tmp_path_factory.mktemp("weights"), "bert", EXACT)


def test_weights_alone_are_in_eight_bits_where_products_are_too_far_away(weights):
    assert weights.facts["way"] == "weights in 8 bits"
    assert [entry["way"] for entry in weights.facts["tried"]] == ["products in 8 bits", "weights in 8 bits"]
    some = TEXTS[::11]
    assert Cosines.between(weights.client(some), weights.model.encode(some)).mean > 0.998


def test_size_and_digest_are_of_graph_and_weights(weights):
    made, file = find_format("openvino-int8"), weights.folder / "openvino" / "openvino_model.xml"
    files = made.files(file)
    assert files == [file, file.with_suffix(".bin")]

    def digest() -> str:
        settings = TeacherSettings(model="tiny")
        student = weights.folder.parent / "student"
        return ExportEvaluator(student, weights.model, file, made, lambda: weights.client, settings, 0, 1).digest

    before = digest()
    with file.with_suffix(".bin").open("ab") as stream:
        stream.write(b"\0")
    assert digest() != before


def test_nothing_is_reported_home(tmp_path):
    """Both packages leave a number for their makers in the home folder as soon as they are imported."""
    code = "from langtailor.export.openvino import graph as openvino_graph\nwith openvino_graph._nncf():\n    pass"
    environment = child_environment({"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)})
    environment.pop("NNCF_CI", None)
    environment.pop("CI", None)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
    assert not (tmp_path / "intel").exists()
