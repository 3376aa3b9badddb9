"""Containers: the image where something builds one, and jobs that run in the image that the configuration names."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from langtailor import __version__
from tests.workflow.conftest import ROOT, changed

BASE = "docker.io/library/python:3.11-slim-bookworm"
IMAGE = "localhost/langtailor:test"
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


class Engine:
    """A program that builds and runs images."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def here(cls) -> "Engine | None":
        """One that works; `docker` alone is a client, which needs a daemon."""
        engines = (cls(name) for name in ("podman", "docker", "buildah") if shutil.which(name))
        return next((engine for engine in engines if engine.tried("info").returncode == 0), None)

    def tried(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([self.name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    def done(self, *arguments: str) -> str:
        done = self.tried(*arguments)
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout.strip()

    def run(self, image: str, folder: Path, *command: str) -> str:
        """What a command says in the image, as a user that it does not know, with a folder as /work."""
        options = ("--volume", f"{folder}:/work", "--user", "1234:1234")
        if self.name != "buildah":
            return self.done("run", "--rm", *options, "--entrypoint", command[0], image, *command[1:])
        container = self.done("from", image)
        try:
            return self.done("run", *options, container, "--", *command)
        finally:
            self.done("rm", container)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_the_image_is_built_and_runs_the_command_as_any_user(tmp_path):
    engine = Engine.here()
    if engine is None:
        pytest.skip("nothing builds images here")
    # Where an image or an index has to come from elsewhere: --build-arg BASE=... and the like.
    further = shlex.split(os.environ.get("LANGTAILOR_BUILD", ""))
    if not further and (pulled := engine.tried("pull", BASE)).returncode:
        pytest.skip(f"{BASE} cannot be had here: {pulled.stderr.strip()[-200:]}")
    engine.done("build", *further, "--tag", IMAGE, ".")
    tmp_path.chmod(0o777)
    assert engine.run(IMAGE, tmp_path, "langtailor", "--version") == __version__
    assert engine.run(IMAGE, tmp_path, "id", "-u") == "1234"
    engine.run(IMAGE, tmp_path, "langtailor", "init", "--languages", "en,tr", "--target", "my.yaml")
    assert "write_report" in engine.run(IMAGE, tmp_path, "langtailor", "plan", "my.yaml")
