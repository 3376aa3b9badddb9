"""What can be said without running anything: plans, targets and refusals."""

import copy
import subprocess
import sys

import pytest
import yaml

from tests.workflow.conftest import ROOT

pytestmark = pytest.mark.timeout(300)


def plan(config, *arguments):
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", *arguments, "--configfile", str(config)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("recipe", ["turkish-200m", "e5-small-one-language", "local-folder", "portuguese-sweep"])
def test_every_recipe_plans_without_the_network(recipe, tmp_path):
    # The tests' hub knows no repository: a plan that asked for one would fail.
    done = plan(ROOT / "config" / f"{recipe}.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_paper_recipe_names_every_job(tmp_path):
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", "config/turkish-200m.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    # 40 languages; 14 shards for each of tr and en (140,000 passages), 2 for each other (14,000).
    for line in ("build_corpus            40", "count_tokens            40", "teacher_vectors        104"):
        assert line in done.stdout + done.stderr


#: Each takes longer to import than a plan takes.
HEAVY = {"torch", "transformers", "sentence_transformers", "datasets", "sklearn", "scipy", "tokenizers", "mteb"}
PLAN = """
import runpy, sys
sys.argv = ["snakemake", "-n", "--quiet", "all"]
try:
    runpy.run_module("snakemake", run_name="__main__")
except SystemExit as end:
    print(end.code, *sys.modules)
"""


def test_a_plan_imports_no_heavy_library():
    done = subprocess.run(
        [sys.executable, "-c", PLAN], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    assert HEAVY.isdisjoint(modules)


def test_a_configfile_stands_alone(workflow):
    jobs = workflow.planned({**workflow.config, "run": "fresh"})
    assert jobs["build_corpus"] == 2, "the demo's languages are not mixed in"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("vocabulary", {"size": -1}, "config `vocabulary.size`"),
        ("vocabulary", {"sise": 1}, "config `vocabulary.sise`"),
        ("run", "../up", "config `run`"),
        ("variants", {"../x": {}}, "../x"),
        ("target_languages", ["xx"], "'xx' is not one of corpus.languages"),
        ("teacher", {}, "config `teacher.model`"),
        ("nonsense", 1, "config `nonsense`"),
    ],
)
def test_a_wrong_value_is_refused_by_key_before_anything_runs(workflow, key, value, says):
    config = copy.deepcopy(workflow.config)
    config[key] = value
    done = workflow.snakemake("-n", config=config)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_targets_stop_after_their_stage(workflow):
    config = {**workflow.config, "run": "fresh"}
    done = workflow.snakemake("-n", "tokenizer", config=config)
    assert "write_tokenizer" in done.stdout + done.stderr
    assert "clone_model" not in done.stdout + done.stderr


def test_environments_hold_the_lock(tmp_path):
    for kind in ("cpu", "gpu"):
        lock = (ROOT / "requirements" / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
        pins = [line for line in lock if "==" in line]
        environment = yaml.safe_load((ROOT / "envs" / f"{kind}.yaml").read_text(encoding="utf-8"))
        listed = [entry for entry in environment["dependencies"][-1]["pip"] if not entry.startswith("-")]
        assert listed == pins


def test_the_locks_agree_but_for_the_build_of_torch():
    def pins(kind):
        lines = (ROOT / "requirements" / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
        return dict(line.split("==") for line in lines if "==" in line)

    cpu, gpu, dev = pins("cpu"), pins("gpu"), pins("dev")
    assert cpu.pop("torch") == gpu.pop("torch") + "+cpu"
    assert cpu == gpu
    assert cpu.items() <= dev.items()
