"""The workflow as a module of another one, from another folder, and with its default configuration from anywhere."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT, digests
from tests.workflow.planner import run

pytestmark = pytest.mark.timeout(900)

OUTER = """
rule everything:
    input:
        "tailored/results/small/report.html",
        "tailored/results/small/student/tailored",
    output:
        "done.txt",
    shell:
        "ls {{input}} > {{output}}"


configfile: "my.yaml"


module lt:
    snakefile:
        {snakefile}
    config:
        config["tailor"]
    prefix:
        "tailored"


use rule * from lt as lt_*
"""
#: Goes by contents, where a run does not take up profiles/default.
TRIGGERS = ("--rerun-triggers", "mtime", "params", "input", "software-env")


class Outer:
    """Another workflow, in a folder of its own, that has ours as a module."""

    def __init__(self, folder: Path, config: dict, snakefile: str) -> None:
        self.folder = folder
        (folder / "my.yaml").write_text(yaml.safe_dump({"tailor": config}), encoding="utf-8")
        (folder / "Snakefile").write_text(OUTER.format(snakefile=snakefile), encoding="utf-8")

    def run(self, *arguments: str) -> str:
        code, said = run(["--directory", str(self.folder), "--snakefile", str(self.folder / "Snakefile"), *arguments])
        assert code == 0, said[-5_000:]
        return said


@pytest.fixture(scope="module")
def outer(finished, tmp_path_factory) -> Outer:
    """A finished run of the small configuration."""
    started = Outer(tmp_path_factory.mktemp("outer"), finished.config, repr(str(ROOT / "Snakefile")))
    started.run("--cores", "2")
    return started


def test_it_gives_the_same_bytes_under_another_name(finished, outer):
    results = outer.folder / "tailored" / "results" / "small"
    # Other tests of the same run may have added exports.
    expected = {name: digest for name, digest in finished.digests().items() if not name.startswith("export/")}
    assert digests(results) == expected
    assert {path.name for path in outer.folder.iterdir()} == {
        "tailored",
        "done.txt",
        "my.yaml",
        "Snakefile",
        ".snakemake",
    }


def test_it_is_finished_for_another_copy_of_the_code(finished, outer, tmp_path):
    for folder in ("config", "envs", "workflow"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    again = Outer(outer.folder, finished.config, repr(str(tmp_path / "workflow" / "Snakefile")))
    assert "Nothing to be done" in again.run("-n", *TRIGGERS)


def test_a_module_leaves_the_default_target_and_the_users_files_where_they_are(workflow, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copytree(workflow.config["teacher"]["model"], mine / "teacher")
    for name in ("tr.txt", "sts.csv", "left.txt", "right.txt"):
        (mine / name).write_text("A sentence of mine.\n", encoding="utf-8")
    config = copy.deepcopy(workflow.config)
    config["teacher"]["model"] = "./mine/teacher"
    config["corpus"]["sources"]["mine"] = {"kind": "files", "path": "mine/{lang}.txt"}
    config["corpus"]["languages"] = {"en": {"source": "sample"}, "tr": {"source": "mine"}}
    config["vocabulary"]["graft"]["donor"] = "./mine/teacher"
    config["distillation"]["validation_sts"] = {"path": "mine/sts.csv"}
    config["evaluation"]["tasks"] = {
        "sts": {"kind": "sts", "path": "mine/sts.csv"},
        "bitext": {"kind": "bitext", "source": "mine/left.txt", "target": "mine/right.txt"},
    }
    said = Outer(tmp_path, config, repr(str(ROOT / "workflow" / "Snakefile"))).run("-n")
    assert "lt_evaluate_teacher" in said
    assert "everything" in said
    for path in ("mine/teacher/config.json", "mine/tr.txt", "mine/sts.csv", "mine/left.txt"):
        assert f" {path}" in said
        assert f"tailored/{path}" not in said


def test_a_module_may_be_given_the_folder_of_the_run(workflow, tmp_path):
    outer = Outer(tmp_path, workflow.config, repr(str(ROOT / "Snakefile")))
    text = (tmp_path / "Snakefile").read_text(encoding="utf-8")
    text = text.replace('prefix:\n        "tailored"', 'pathvars:\n        results="elsewhere"')
    (tmp_path / "Snakefile").write_text(text.replace("tailored/results/small", "elsewhere"), encoding="utf-8")
    said = outer.run("-n")
    assert "elsewhere/logs/distil/tailored.log" in said
    assert "results/small" not in said


def plan_demo(folder: Path) -> str:
    command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_default_configuration_is_found_from_any_folder(tmp_path):
    assert "results/demo/corpus/zh.parquet" in plan_demo(tmp_path)


def test_a_folders_own_configuration_goes_first(workflow, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text(yaml.safe_dump(workflow.config), encoding="utf-8")
    said = plan_demo(tmp_path)
    assert "results/small/corpus/tr.parquet" in said
    assert "demo" not in said
