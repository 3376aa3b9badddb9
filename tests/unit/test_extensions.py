"""The examples in docs/how-to.md work as they stand: each is one new file in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from langtailor.corpus.reading import read_corpus
from langtailor.models.loading import load_sentence_transformer
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import make_world, write_corpus

ROOT = Path(__file__).parents[2]
DESCRIBE = """
import sys, pathlib
from langtailor.planning.configuration import descriptions
for name, text in descriptions().items():
    (pathlib.Path(sys.argv[1]) / name).write_text(text)
"""
SCORE = """
import json, pathlib, sys
from langtailor.config.evaluation import parse_task
from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.run import run_task
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks import register_tasks
from langtailor.storage.artifacts import Manifest, seal_directory

model, corpus, out = map(pathlib.Path, sys.argv[1:])
register_tasks()
seal_directory(model, Manifest("teacher"))
evaluator = Evaluator(model, TeacherSettings(model=str(model)), resamples=0, seed=0, device="cpu")
run_task("spread", parse_task({"kind": "anisotropy"}), evaluator, Inputs({"en": corpus}), out)
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the workflow with the files that the document shows."""
    copied = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "workflow", copied / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    blocks = re.findall(
        r"```python\n# (\S+\.py)\n(.*?)```", (ROOT / "docs" / "how-to.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert [Path(name).stem for name, _ in blocks] == ["smooth_l1", "anisotropy"]
    for name, content in blocks:
        assert not (copied / name).exists()
        (copied / name).write_text(content, encoding="utf-8")
    return copied


def run(extended, *arguments):
    environment = {**os.environ, "PYTHONPATH": f"{extended / 'workflow'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]


def test_make_schema_describes_the_new_keys(extended, tmp_path):
    run(extended, "-c", DESCRIBE, tmp_path)
    schema = (tmp_path / "schema.yaml").read_text(encoding="utf-8")
    for words in (
        "      smooth_l1:\n",
        "Smooth L1 distance of the vectors",
        "      beta:\n",
        "AnisotropyTask:\n",
        "const: anisotropy",
    ):
        assert words in schema
    reference = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (
        "\n| `distillation.objective.smooth_l1` | number (0 or more) | `0.0` | Smooth L1 distance of the vectors"
        in reference
    )
    assert "\n| `distillation.objective.beta` | number (more than 0) | `0.1` | Difference from which" in reference
    assert (
        "\n### `evaluation.tasks.<name>` of the kind `anisotropy`\n\nMean cosine of different test passages"
        in reference
    )


def test_the_new_term_is_trained_on(extended, tmp_path):
    world = make_world(tmp_path / "world", make_tiny_bert_teacher)
    settings = {"objective": {"cosine": 0, "smooth_l1": 1, "beta": 0.5}, "epochs": 2}
    arguments = (world.root, tmp_path / "out", tmp_path / "checkpoints", json.dumps(settings))
    run(extended, "-m", "tests.unit.distillation_world", *arguments)
    lines = [
        json.loads(line) for line in (tmp_path / "out" / "training.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    steps = [line for line in lines if "smooth_l1" in line]
    assert len(steps) > 10
    assert all(line["loss"] == pytest.approx(line["smooth_l1"]) for line in steps)
    validations = [line["validation"]["loss"] for line in lines if "validation" in line]
    assert validations[-1] < 0.9 * validations[0]


def test_the_new_task_scores_a_model(extended, tmp_path):
    model = make_tiny_bert_teacher(tmp_path / "model")
    write_corpus(tmp_path / "en.parquet", "en", (4, 2, 9))
    run(extended, "-c", SCORE, model, tmp_path / "en.parquet", tmp_path / "spread.json")
    (score,) = json.loads((tmp_path / "spread.json").read_text(encoding="utf-8"))["scores"]
    texts = read_corpus(tmp_path / "en.parquet", "test")["text"].to_pylist()
    vectors = load_sentence_transformer(model, "cpu").encode(texts, normalize_embeddings=True)
    cosines = vectors @ vectors.T
    expected = np.mean([cosines[i, j] for i in range(9) for j in range(9) if i != j])
    assert (score["metric"], score["group"], score["n"]) == ("mean cosine", "en", 9)
    assert score["value"] == pytest.approx(expected, abs=1e-4)
