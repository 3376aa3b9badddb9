"""Containers: the image where something builds one, and jobs that run in the image that the configuration names."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from langtailor import __version__
from tests.workflow.conftest import ROOT, changed

#: Runs what it is given without a container, and notes the image.
APPTAINER = """#!/bin/sh
[ "$1" = --version ] && echo "apptainer version 1.3.4" && exit
while [ "$1" != sh ] && [ "$1" != bash ]; do image=$1; shift; done
echo "$image" >> "$APPTAINER_CALLS"
exec "$@"
"""


@pytest.mark.timeout(600)
def test_with_apptainer_every_job_runs_in_the_image_that_is_named(workflow, tmp_path, monkeypatch):
    calls, image = tmp_path / "calls", tmp_path / "langtailor.sif"
    image.touch()
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text(APPTAINER, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("APPTAINER_CALLS", str(calls))
    python = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), python, os.environ["PATH"]]))
    config = changed(workflow.config, {"run": "contained", "container": str(image)})
    done = workflow.snakemake("corpus", "--sdm", "apptainer", config=config)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    jobs = {"fetch_teacher": 1, "fetch_documents": 2, "build_corpus": 2}
    assert calls.read_text(encoding="utf-8").splitlines() == [str(image)] * sum(jobs.values())


def test_an_image_changes_nothing_where_no_job_runs_in_it(workflow):
    config = changed(workflow.config, {"run": "fresh"})
    assert workflow.planned(changed(config, {"container": "docker://registry.example.org/langtailor:1"})) == (
        workflow.planned(config)
    )


def builder() -> str | None:
    """A program here that builds and runs images; docker alone is a client, which needs an engine."""
    for name in ("podman", "docker"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    return None


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_the_image_is_built_and_runs_the_command_as_any_user(tmp_path):
    program = builder()
    if program is None:
        pytest.skip("no engine builds images here")
    base = os.environ.get("LANGTAILOR_BASE", "docker.io/library/python:3.11-slim-bookworm")
    if subprocess.run([program, "image", "inspect", base], capture_output=True, check=False).returncode:
        pulled = subprocess.run([program, "pull", base], capture_output=True, text=True, check=False)
        if pulled.returncode:
            pytest.skip(f"{base} cannot be had here: {pulled.stderr.strip()[-300:]}")
    command = [program, "build", "--tag", "langtailor:test", "--build-arg", f"BASE={base}", "."]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-3_000:] + built.stderr[-3_000:]

    def run(*arguments: str, entry: str = "langtailor") -> str:
        options = ["--rm", "--volume", f"{tmp_path}:/work", "--user", f"{os.getuid() or 1234}", "--entrypoint", entry]
        started = [program, "run", *options, "langtailor:test", *arguments]
        done = subprocess.run(started, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout

    tmp_path.chmod(0o777)
    assert run("--version").strip() == __version__
    assert run("-u", entry="id").strip() != "0"
    run("init", "--languages", "en,tr", "--target", "my.yaml")
    assert "write_report" in run("plan", "my.yaml")
