"""The installed command in an empty folder: a wheel of the package brings the whole workflow along."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from langtailor.corpus.local_files import SAMPLE
from tests.workflow.conftest import ROOT

pytestmark = pytest.mark.timeout(600)

#: What a run reads beside the package.
PARTS = (
    "Snakefile",
    "config",
    "envs",
    "profiles",
    "workflow/Snakefile",
    *(f"workflow/{n}" for n in ("report", "rules", "scripts")),
)


def execute(*command: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a command in a folder, without this checkout on Python's path."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command,
        cwd=folder,
        env={**kept, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that `pip install` makes of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    done = execute(*pip, "--wheel-dir", folder, ROOT, folder=folder, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder with the installed wheel."""
    folder = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel)
    done = execute(*pip, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def repository_files() -> set[str]:
    """What git has of the parts that a run reads."""
    listed = subprocess.run(["git", "ls-files", *PARTS], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def test_the_wheel_has_the_package_and_what_a_run_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    brought = {name.removeprefix("langtailor/_repository/") for name in names if "/_repository/" in name}
    assert brought >= repository_files()
    package = subprocess.run(
        ["git", "ls-files", "langtailor"], cwd=ROOT / "workflow", capture_output=True, text=True, check=True
    )
    assert names >= set(package.stdout.splitlines())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"langtailor"}


def test_the_installed_command_plans_and_runs_in_an_empty_folder(site, workflow, tmp_path):
    for lang in ("en", "tr"):
        (tmp_path / f"{lang}.txt").write_text((SAMPLE / f"{lang}.txt").read_text(encoding="utf-8"), encoding="utf-8")

    def langtailor(*arguments: str) -> str:
        done = execute(site / "bin" / "langtailor", *arguments, folder=tmp_path, PYTHONPATH=str(site))
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout

    options = ("--teacher", workflow.config["teacher"]["model"], "--size", "420", "--text", "{lang}.txt")
    langtailor("init", "--languages", "en,tr", *options, "--target", "my.yaml")
    planned = langtailor("plan", "my.yaml")
    call = planned.splitlines()[0]
    assert f"--snakefile {site}/langtailor/_repository/Snakefile --configfile my.yaml --cores all --dry-run" in call
    assert "write_report" in planned
    assert not (tmp_path / "results").exists()
    langtailor("run", "my.yaml", "--", "corpus", "--cores", "2")
    assert sorted(path.name for path in (tmp_path / "results" / "my" / "corpus").glob("*.parquet")) == [
        "en.parquet",
        "tr.parquet",
    ]


def test_the_exit_code_is_snakemakes(site, tmp_path):
    (tmp_path / "my.yaml").write_text("teacher: {}\n", encoding="utf-8")
    done = execute(site / "bin" / "langtailor", "plan", "my.yaml", folder=tmp_path, PYTHONPATH=str(site))
    assert done.returncode == 1
    assert "config `teacher.model`" in done.stdout + done.stderr
