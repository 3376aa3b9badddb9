"""The paper's recipe, scaled down, in the published environment: from the Hub to the student that opens.

Everything but the tests' own Hub runs under the Python that ``LANGTAILOR_PYTHON`` names (``make test-recipe``: one with
``requirements/cpu.txt`` and nothing else).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import HUB
from tests.recipe.world import publish_sts, publish_teacher, publish_wikipedia

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("LANGTAILOR_PYTHON", sys.executable)

pytestmark = [pytest.mark.recipe, pytest.mark.timeout(2_400)]

OPEN = """
import json, sys
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
vectors = model.encode(["Bugün hava çok güzel.", "The weather is lovely today."], prompt_name="STS")
print(json.dumps({"shape": vectors.shape, "modules": [type(module).__name__ for module in model]}))
"""


def scaled_down() -> dict:
    """The recipe with sizes that two cores manage; all else is the recipe's."""
    config = yaml.safe_load((ROOT / "config" / "turkish-200m.yaml").read_text(encoding="utf-8"))
    config["corpus"]["chunk_tokens"] = 64
    config["corpus"]["quotas"] = {"train": 12, "validation": 4, "test": 4}
    for lang in ("tr", "en"):
        config["corpus"]["languages"][lang] = {"quotas": {"train": 60, "validation": 12, "test": 12}}
    config["vocabulary"]["size"] = 768
    config["distillation"] |= {"batch_size": 32, "max_length": 64, "validate_every": 10, "learning_rate": 1e-3}
    config["evaluation"]["bootstrap"] = 20
    return config


def under_test(*arguments: str, folder: Path, seconds: float) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HF_TOKEN": "hf_tester", "OMP_NUM_THREADS": "1"}
    command = [PYTHON, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The finished run's folder."""
    folder = tmp_path_factory.mktemp("recipe")
    config = scaled_down()
    publish_teacher(HUB, folder / "teacher")
    publish_wikipedia(HUB, list(config["corpus"]["languages"]), articles=40)
    publish_sts(HUB)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    place = ["--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "--configfile", "recipe.yaml"]
    done = under_test("-m", "snakemake", "all", *place, folder=folder, seconds=2_300)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-10_000:]
    return folder / "results" / config["run"]


def test_the_student_of_the_recipe_opens(run):
    opened = under_test("-c", OPEN, str(run / "student" / "tailored"), folder=run, seconds=300)
    assert opened.returncode == 0, opened.stderr
    said = json.loads(opened.stdout.splitlines()[-1])
    assert said == {"shape": [2, 32], "modules": ["Transformer", "Pooling", "Dense", "Dense", "Normalize"]}


def test_every_language_of_the_recipe_is_in_the_certificate(run):
    certificate = json.loads((run / "tokenizer" / "tailored" / "certificate.json").read_text(encoding="utf-8"))
    assert len(certificate["languages"]) == 40
    assert certificate["unreachable"] == 0


def test_the_sentencepiece_file_goes_with_the_student(run):
    assert (run / "student" / "tailored" / "tokenizer.model").is_file()


def test_the_report_has_the_sts_scores(run):
    for task in ("sts-tr", "sts-en"):
        scores = json.loads((run / "evaluation" / "tailored" / "student" / f"{task}.json").read_text(encoding="utf-8"))
        assert scores["scores"][0]["metric"] == "spearman"
    assert "sts-tr" in (run / "report.html").read_text(encoding="utf-8")
