"""The workflow as a module that lies on GitHub, with the package installed; what Snakemake has fetched plays GitHub."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from langtailor.storage.digests import sha256_file
from tests.workflow.conftest import ROOT

pytestmark = [pytest.mark.examples, pytest.mark.timeout(900)]

OUTER = """
configfile: "my.yaml"


module lt:
    snakefile:
        github("owner/langtailor", path="workflow/Snakefile", tag="v0")
    config:
        config


use rule * from lt as lt_*
"""
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")


def command(*arguments: str | Path, cwd: Path) -> None:
    subprocess.run([*arguments], cwd=cwd, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """The code as a repository with a tag, but for what was made in it."""
    folder = tmp_path_factory.mktemp("repository")
    leave_out = shutil.ignore_patterns("__pycache__")
    for name in ("config", "envs", "profiles", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave_out)
    for name in ("Snakefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for arguments in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "All"), ("tag", "v0")):
        command(*GIT, *arguments, cwd=folder)
    return folder


@pytest.fixture
def cache(repository, tmp_path) -> Path:
    """Snakemake's cache with the repository in it, as after the first run."""
    clone = tmp_path / "cache/snakemake/snakemake/source-cache/snakemake-git-cache/github.com/owner/langtailor"
    clone.parent.mkdir(parents=True)
    command(*GIT, "clone", "--quiet", "--bare", repository, clone, cwd=tmp_path)
    return tmp_path / "cache"


def snakemake(folder: Path, cache: Path, site: Path, target: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(site)}
    arguments = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(folder), target]
    return subprocess.run(
        [*arguments, "--snakefile", str(folder / "Snakefile")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture
def outer(workflow, tmp_path) -> Path:
    folder = tmp_path / "outer"
    folder.mkdir()
    (folder / "Snakefile").write_text(OUTER, encoding="utf-8")
    (folder / "my.yaml").write_text(yaml.safe_dump(workflow.config), encoding="utf-8")
    return folder


def test_a_module_on_github_runs_the_installed_package(finished, repository, cache, outer, tmp_path):
    site = tmp_path / "site"
    install = ("install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site, repository)
    command(sys.executable, "-m", "pip", *install, cwd=tmp_path)
    target = "results/small/vocabulary/tailored.parquet"
    done = snakemake(outer, cache, site, target)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    assert sha256_file(outer / target) == sha256_file(finished.folder / target)
    assert "Nothing to be done" in snakemake(outer, cache, site, target).stderr


def test_without_the_package_it_says_what_to_install(cache, outer, tmp_path):
    done = snakemake(outer, cache, tmp_path, "lt_corpus")
    assert done.returncode != 0
    assert "needs the package langtailor of the same commit; `pip install` the repository" in done.stderr
    assert "Traceback" not in done.stderr
