"""The lines of docs/serving.md run as they stand, and give the student's vectors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from langtailor.export.certificate import Cosines
from tests.unit.export_world import make_export, make_student

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(JAVASCRIPT,) = re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL)
MODULES = ROOT / "tests" / "node" / "node_modules"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A folder laid out as the page says, and the texts with the student's vectors of them."""
    root = tmp_path_factory.mktemp("served")
    model, student = make_student(root, "xlmr")
    for name in ("onnx", "openvino-int8", "gguf-q8_0"):
        make_export(model, student, name)
    names: dict = {}
    exec(PYTHON[0], names)
    return root, names["texts"], model.encode(names["texts"])


def by_python(block: str, served, monkeypatch) -> np.ndarray:
    root, _, _ = served
    monkeypatch.chdir(root)
    names: dict = {}
    exec(PYTHON[0] + block, names)
    return np.array(names["vectors"], np.float32)


@pytest.mark.parametrize(
    ("block", "says", "least"),
    [
        (1, "SentenceTransformer(", 0.999999),
        (2, "InferenceSession(", 0.999999),
        (3, "openvino.Core(", 0.97),
        (4, "xllamacpp.Server(", 0.995),
    ],
)
def test_python_lines_give_the_students_vectors(served, block, says, least, monkeypatch):
    assert says in PYTHON[block]
    vectors = by_python(PYTHON[block], served, monkeypatch)
    assert Cosines.between(vectors, served[2]).least >= least


def test_all_python_lines_are_run_but_those_of_a_package_that_the_lock_does_not_have():
    assert len(PYTHON) == 6
    assert PYTHON[5].startswith("# fastembed\n")


@pytest.mark.skipif(
    shutil.which("node") is None or not MODULES.is_dir(),
    reason="needs node, and transformers.js in tests/node (`make test` installs it where there is npm)",
)
def test_javascript_lines_give_the_students_vectors(served):
    root, texts, expected = served
    given = f"const prompt = ``;\nconst texts = {json.dumps(texts)};\n"
    script = root / "serve.mjs"
    script.write_text(f"{given}{JAVASCRIPT}process.stdout.write(JSON.stringify(vectors));\n", encoding="utf-8")
    (root / "node_modules").symlink_to(MODULES)
    done = subprocess.run(["node", script], cwd=root, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=2e-4)
