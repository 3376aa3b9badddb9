"""The small run through a real Slurm, and a job that Slurm kills."""

import copy
import os
import subprocess
import sys
import time

import pytest
from sentence_transformers import SentenceTransformer

from tests.slurm.cluster import Cluster
from tests.workflow.conftest import ROOT, Workflow

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1_500)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    return Workflow(tmp_path_factory.mktemp("workflow"))


def command_of(workflow, config, *further):
    quick = [
        "--slurm-init-seconds-before-status-checks",
        "2",
        "--seconds-between-status-checks",
        "2",
        "--slurm-keep-successful-logs",
    ]
    arguments = workflow._arguments(config, 1, ("--profile", str(ROOT / "profiles" / "slurm"), *quick, *further, "all"))
    place = arguments.index("--cores")
    del arguments[place : place + 2]  # a cluster's limit is jobs
    return [sys.executable, "-m", "snakemake", *arguments]


def run(workflow, config=None, *further):
    command = command_of(workflow, config, *further)
    return subprocess.run(command, capture_output=True, text=True, timeout=1_200, check=False, env=dict(os.environ))


def test_the_small_run_goes_through_slurm(cluster, workflow):
    done = run(workflow)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    SentenceTransformer(str(workflow.results / "student" / "tailored"), device="cpu").encode("merhaba")
    jobs = cluster.jobs()
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    with_gpu = {job["comment"] for job in jobs if "gpu" in job["asked"]}
    assert any("distil" in comment for comment in with_gpu)
    assert any("teacher_vectors" in comment for comment in with_gpu)
    assert not any("select_vocabulary" in comment for comment in with_gpu)
    # Documents, corpus and counts of a language are one submission.
    assert sum("language" in job["comment"] or "fetch_documents" in job["comment"] for job in jobs) <= 2


def test_a_killed_job_fails_the_run_and_a_rerun_completes(cluster, workflow):
    config = copy.deepcopy(workflow.config)
    config["distillation"] |= {"epochs": 30, "learning_rate": 5e-4, "checkpoint_every": 5}
    before = {job["id"] for job in cluster.jobs()}
    command = command_of(workflow, config, "--retries", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        checkpoints = workflow.results / "checkpoints" / "tailored"
        killed = scancel_when(cluster, before, lambda: any(checkpoints.rglob("*.safetensors")))
        said = running.communicate(timeout=600)[0]
    assert running.returncode != 0, said[-3_000:]
    assert {job["id"]: job["state"] for job in cluster.jobs()}[killed] == "CANCELLED"
    again = run(workflow, config)
    assert again.returncode == 0, again.stdout[-5_000:] + again.stderr[-5_000:]
    log = (workflow.results / "logs" / "distil" / "tailored.log").read_text(encoding="utf-8")
    assert "going on from the checkpoint" in log


def scancel_when(cluster, before, ready, seconds=300):
    """Cancel the job that trains as soon as ``ready``; returns its id."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        training = [
            job["id"]
            for job in cluster.jobs()
            if job["id"] not in before and job["state"] == "RUNNING" and "distil" in job["comment"]
        ]
        if training and ready():
            subprocess.run(["scancel", training[0]], check=True)
            return training[0]
        time.sleep(0.2)
    raise AssertionError("no job came to train")
