"""Exports in transformers.js: it finds the graph where its own layout has it, and gives the student's ids and vectors."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from langtailor.config.export import export_formats
from langtailor.export.format import find_format
from langtailor.export.onnx.client import OnnxClient
from langtailor.export.onnx.format import OnnxFormat
from langtailor.export.scripts import texts_in_many_scripts
from tests.models import MAX_LENGTH
from tests.unit.export_world import MAKERS, make_export, make_student, student_ids

NODE = Path(__file__).parents[1] / "node"
GRAPHS = [name for name, made in export_formats().items() if issubclass(made, OnnxFormat)]

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules").is_dir(),
    reason="needs node, and transformers.js in tests/node (`make test` installs it where there is npm)",
)


def in_node(script: str, *arguments: str, texts: list[str]) -> dict:
    command = ["node", script, *arguments]
    done = subprocess.run(
        command, cwd=NODE, input=json.dumps(texts), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, "onnx") for kind in MAKERS] + [("bert", name) for name in GRAPHS[1:]]
)
def test_ids_are_the_students_and_vectors_those_of_onnxruntime(tmp_path, kind, name):
    model, student = make_student(tmp_path, kind)
    folder, made = make_export(model, student, name), find_format(name)
    ids = dict(zip(texts_in_many_scripts(), student_ids(model, texts_in_many_scripts()), strict=True))
    within = [text for text in ids if len(ids[text]) < MAX_LENGTH]
    assert len(within) > 400
    found = in_node("embed.mjs", f"{folder.parent}/", folder.name, json.dumps(made.in_browser(folder)), texts=within)
    assert found["ids"] == [ids[text] for text in within]
    client = OnnxClient(folder / made.file, folder, 1)
    here = np.concatenate([client(within[start : start + 16]) for start in range(0, len(within), 16)])
    np.testing.assert_allclose(found["vectors"], here, atol=1e-4)


@pytest.mark.parametrize("name", ["onnx", "onnx-fp16"])
def test_weights_next_to_the_graph_are_found(tmp_path, monkeypatch, name):
    monkeypatch.setattr("langtailor.export.onnx.graph._MOST_BYTES", 0)
    model, student = make_student(tmp_path, "bert")
    folder, made = make_export(model, student, name), find_format(name)
    options, texts = made.in_browser(folder), texts_in_many_scripts()[::40]
    assert options["use_external_data_format"]
    found = in_node("embed.mjs", f"{folder.parent}/", folder.name, json.dumps(options), texts=texts)
    np.testing.assert_allclose(found["vectors"], OnnxClient(folder / made.file, folder, 1)(texts), atol=1e-4)


def test_the_cards_own_lines_run(tmp_path):
    model, student = make_student(tmp_path, "bert")
    folder = make_export(model, student, "onnx")
    usage = find_format("onnx").usage(folder, [])
    code = usage.split("```js\n")[1].split("```")[0]
    code = code.replace('["...", "..."]', '["deniz mavi bir ev", "ev"]').replace('"..."', json.dumps(folder.name))
    local = f'import {{ env }} from "@huggingface/transformers";\nenv.localModelPath = "{folder.parent}/";\n'
    said = f"{local}{code}process.stdout.write(JSON.stringify(vectors));\n"
    script = NODE / f"card-{folder.parent.name}.mjs"
    script.write_text(said, encoding="utf-8")
    try:
        vectors = in_node(script.name, texts=[])
    finally:
        script.unlink()
    np.testing.assert_allclose(vectors, model.encode(["deniz mavi bir ev", "ev"]), atol=2e-5)
