"""The small run, and its student, under other versions of transformers and sentence-transformers (``make test-versions``).

Each test needs an environment that the command makes; where its packages cannot be had, the test is skipped.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tests.workflow.conftest import ROOT, Workflow

pytestmark = [pytest.mark.versions, pytest.mark.timeout(1_800)]

TEXTS = ["Bugün hava çok güzel.", "The weather is lovely today.", "Kediler uyuyor."]
ENCODE = """
import json, sys
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
print(json.dumps(model.encode(json.loads(sys.argv[2])).tolist()))
"""


def python_of(name: str) -> str:
    """The interpreter of an environment that ``make test-versions`` made."""
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not (ROOT / f".venv-{name}" / ".ready").is_file():
        pytest.skip(
            f"there is no {python.parent.parent.name}; `make test-versions` makes it where its packages can be had"
        )
    return str(python)


def encode_with(python: str, student: Path) -> np.ndarray:
    command = [python, "-c", ENCODE, str(student), json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return np.asarray(json.loads(done.stdout.splitlines()[-1]), np.float32)


def assert_same_vectors(vectors: np.ndarray, student: Path) -> None:
    expected = SentenceTransformer(str(student), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["oldest", "newest"])
def test_the_small_run_ends_in_a_student_that_opens(name, tmp_path):
    python = python_of(name)
    workflow = Workflow(tmp_path)
    command = [python, "-m", "snakemake", *workflow.arguments("all")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1_500, check=False)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-5_000:]
    student = workflow.results / "student" / "tailored"
    assert_same_vectors(encode_with(python, student), student)


def test_the_student_opens_under_versions_that_users_still_have(finished):
    student = finished.results / "student" / "tailored"
    assert_same_vectors(encode_with(python_of("readers"), student), student)
