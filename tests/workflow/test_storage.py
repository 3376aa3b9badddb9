"""A run whose files live in a bucket, on an S3 server of this machine."""

import copy
import re
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from tests.workflow.conftest import ROOT, Workflow, digests
from tests.workflow.test_reproducibility import STAGES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """Address of the server, which has a process of its own."""
    log = tmp_path_factory.mktemp("s3") / "log"
    # Port 0: the server says which one it took.
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as server:
        try:
            yield address_in(log, server)
        finally:
            server.terminate()


def address_in(log: Path, server: subprocess.Popen) -> str:
    while server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8")):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text(encoding="utf-8"))


def fetch(endpoint: str, prefix: str, folder: Path) -> Path:
    """Copy what lies in the bucket below a prefix."""
    for item in boto3.resource("s3", endpoint_url=endpoint).Bucket("langtailor").objects.filter(Prefix=prefix):
        path = folder / item.key
        path.parent.mkdir(parents=True, exist_ok=True)
        item.Object().download_file(path)
    return folder / prefix


def test_a_run_in_a_bucket_ends_in_the_bytes_of_a_local_one(finished, endpoint, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of no account")
    away = Workflow(tmp_path / "away")
    away.config = copy.deepcopy(finished.config)
    storage = ["--profile", str(ROOT / "profiles" / "s3"), "--default-storage-prefix", "s3://langtailor/runs"]
    storage += ["--storage-s3-endpoint-url", endpoint]
    done = away.snakemake("all", *storage)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]

    there = digests(fetch(endpoint, "runs/results/small", tmp_path / "fetched"))
    assert {name.split("/")[0] for name in there} == STAGES
    assert there == finished.digests()
    assert away.digests() == {}, "nothing but what a machine keeps for itself lies here"
    again = away.snakemake("-n", "all", *storage)
    assert "Nothing to be done" in again.stdout + again.stderr
