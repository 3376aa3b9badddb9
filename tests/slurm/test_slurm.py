"""The small run through a real Slurm, and a job that Slurm kills."""

import copy
import os
import re
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


def command_of(workflow, config, *further, target="all"):
    quick = [
        "--slurm-init-seconds-before-status-checks",
        "2",
        "--seconds-between-status-checks",
        "2",
        "--slurm-keep-successful-logs",
    ]
    profile = ("--profile", str(ROOT / "profiles" / "slurm"))
    arguments = workflow.arguments(target, *profile, *quick, *further, config=config, cores=1)
    place = arguments.index("--cores")
    del arguments[place : place + 2]  # a cluster's limit is jobs
    return [sys.executable, "-m", "snakemake", *arguments]


def run(workflow, config=None, *further, target="all"):
    command = command_of(workflow, config, *further, target=target)
    return subprocess.run(command, capture_output=True, text=True, timeout=1_200, check=False, env=dict(os.environ))


#: Where jobs go, as the commented lines of the profile say it.
PARTITIONS = (
    *("--default-resources", "slurm_partition=cpu"),
    *("--set-resources", "teacher_vectors:slurm_partition=gpu", "distil:slurm_partition=gpu"),
)


def test_the_small_run_goes_through_slurm(cluster, workflow):
    done = run(workflow, None, *PARTITIONS)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    SentenceTransformer(str(workflow.results / "student" / "tailored"), device="cpu").encode("merhaba")
    jobs = cluster.jobs()
    assert {job["state"] for job in jobs} == {"COMPLETED"}

    def having(key, value):
        return {job["comment"] for job in jobs if job[key] == value}

    training, vectors = "rule_distil_wildcards_tailored", "rule_teacher_vectors_wildcards_0000"
    assert having("partition", "gpu") == {training, vectors}
    with_gpu = having("asked", "gres:gpu:1")
    assert {training, vectors} < with_gpu
    others = with_gpu - {training, vectors}
    assert others and all(comment.startswith("rule_evaluate") for comment in others)
    # Memory in megabytes and minutes are those of the rules.
    assert [(job["memory"], job["limit"]) for job in jobs if job["comment"] == training] == [("16000M", "12:00:00")]
    tokenizers = [(job["memory"], job["limit"]) for job in jobs if "write_tokenizer" in job["comment"]]
    assert tokenizers == [("8000M", "1:00:00")] * 2, "with new tokens, and only cut"
    # Documents and corpus of a language are one submission.
    grouped = [job["comment"] for job in jobs if re.search("fetch_documents|build_corpus", job["comment"])]
    assert grouped == ["rule_language_build_corpus_fetch_documents"] * 2


def test_a_job_killed_for_memory_is_tried_again_with_more(cluster, workflow):
    vocabulary = workflow.results / "vocabulary" / "tailored.parquet"
    whole = vocabulary.read_bytes()
    before = {job["id"] for job in cluster.jobs()}
    # The first attempt gets less than Python needs; the rule's own request grows from attempt to attempt as the time does.
    memory = "select_vocabulary:mem_mb=50 if attempt == 1 else 4000"
    again = ("--forcerun", "select_vocabulary", "--set-resources", memory)
    done = run(workflow, None, *again, target=str(vocabulary.relative_to(workflow.folder)))
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    jobs = [job for job in cluster.jobs() if job["id"] not in before]
    assert [job["memory"] for job in jobs] == ["50M", "4000M"]
    assert [job["limit"] for job in jobs] == ["1:00:00", "2:00:00"]
    assert jobs[0]["state"] in ("FAILED", "OUT_OF_MEMORY")
    assert jobs[1]["state"] == "COMPLETED"
    assert vocabulary.read_bytes() == whole


def test_a_killed_job_fails_the_run_and_a_rerun_completes(cluster, workflow):
    config = copy.deepcopy(workflow.config)
    config["distillation"] |= {"epochs": 30, "learning_rate": 5e-4, "checkpoint_minutes": 0.02}
    before = {job["id"] for job in cluster.jobs()}
    model = str((workflow.results / "distillation" / "tailored" / "model").relative_to(workflow.folder))
    command = command_of(workflow, config, "--retries", "0", target=model)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        checkpoints = workflow.results / "checkpoints" / "tailored"
        killed = scancel_when(cluster, before, lambda: any(checkpoints.glob("step-*")))
        said = running.communicate(timeout=600)[0]
    assert running.returncode != 0, said[-3_000:]
    assert {job["id"]: job["state"] for job in cluster.jobs()}[killed] == "CANCELLED"
    again = run(workflow, config, target=model)
    assert again.returncode == 0, again.stdout[-5_000:] + again.stderr[-5_000:]
    log = (workflow.results / "logs" / "distil" / "tailored.log").read_text(encoding="utf-8")
    assert "resuming from the checkpoint" in log


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
