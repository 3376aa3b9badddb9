"""Profiles as they ship, on machines that this one plays."""

import os
import re

import pytest

from langtailor.planning.machine import has_gpu
from tests.workflow.conftest import ROOT, Workflow

#: A batch system in four lines: writes down what it was asked for and runs the job beside itself.
QSUB = """#!/bin/sh
echo "$@" >> "{log}"
for script; do :; done
sh "$script" > /dev/null 2>&1 &
echo $!
"""


def gpus_provided(said: str) -> str | None:
    """What Snakemake's scheduler goes by; ``None`` where GPU jobs are not counted."""
    provided = re.search(r"Provided resources:.*\bgpu\D+(\d+)", said)
    return provided[1] if provided else None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_any_submit_command_makes_a_cluster(tmp_path, monkeypatch):
    commands, log = tmp_path / "bin", tmp_path / "asked"
    commands.mkdir()
    (commands / "qsub").write_text(QSUB.format(log=log), encoding="utf-8")
    (commands / "qsub").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    workflow = Workflow(tmp_path)
    profile = ("--profile", str(ROOT / "profiles" / "cluster-generic"))
    done = workflow.snakemake("vectors", *profile, "--verbose", cores=8)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    assert len(list((workflow.results / "vectors" / "0000").rglob("*.arrow"))) == 2
    assert gpus_provided(done.stdout + done.stderr) == "8"
    asked = re.findall(r"ncpus=(\d+):mem=(\d+)mb:ngpus=(\d) -l walltime=00:(\d+):00", log.read_text(encoding="utf-8"))
    assert sorted(asked) == sorted(
        [("1", "8000", "0", "60")]  # the teacher
        + [("1", "4000", "0", "240"), ("1", "4000", "0", "120")] * 2  # documents and corpora of two languages
        + [("8", "8000", "1", "240")]  # vectors
    )


@pytest.mark.parametrize(
    ("profile", "gpus"), [((), "1" if has_gpu() else None), (("--profile", str(ROOT / "profiles" / "gpus")), "4")]
)
def test_gpu_jobs_run_one_at_a_time_where_there_is_one_unless_a_profile_gives_more(tmp_path, profile, gpus):
    done = Workflow(tmp_path).snakemake("results/small/teacher/model", *profile, "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    assert gpus_provided(done.stdout + done.stderr) == gpus


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.skipif(has_gpu(), reason="a GPU job has the GPU, and as many threads as it asks for")
def test_without_a_gpu_two_jobs_read_with_a_model_at_a_time_and_one_that_measures_speed_is_alone(tmp_path, alone):
    workflow = Workflow(tmp_path)
    workflow.config["vectors"] = {"passages_per_job": 100}
    if alone:
        workflow.config["evaluation"]["tasks"]["speed"] = {"kind": "speed"}
    threads = planned_threads(workflow, cores=4)
    assert threads["teacher_vectors", "job=0000"] == 2
    assert threads["teacher_vectors", "job=0001"] == 2
    assert threads["evaluate_teacher", None] == (4 if alone else 2)


@pytest.mark.parametrize(("cores", "threads"), [(2, 1), (8, 2)])
@pytest.mark.skipif(has_gpu(), reason="the threads of a machine with a GPU are those of its share of the cores")
def test_two_jobs_that_mostly_load_libraries_run_at_a_time_on_two_cores(tmp_path, cores, threads):
    planned = planned_threads(Workflow(tmp_path), cores)
    assert {planned[rule, "variant=tailored"] for rule in ("write_tokenizer", "clone_model")} == {threads}


def planned_threads(workflow, cores):
    """Threads of each job of the evaluation, by rule and wildcards."""
    done = workflow.snakemake("-n", "evaluation", cores=cores)
    assert done.returncode == 0, done.stdout + done.stderr
    threads = {}
    for told in re.split(r"^rule ", done.stdout + done.stderr, flags=re.MULTILINE)[1:]:
        wildcards, asked = (re.search(rf"^    {key}: (.+)$", told, re.MULTILINE) for key in ("wildcards", "threads"))
        threads[told.split(":")[0], wildcards and wildcards[1]] = int(asked[1]) if asked else 1
    return threads
