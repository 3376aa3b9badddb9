"""What is said of the teacher's vectors before they are computed."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from langtailor.errors import LangtailorError
from langtailor.planning.configuration import load_settings
from langtailor.planning.estimate import Job, Work, explain, makespan, read_work
from tests.workflow.conftest import ROOT

WORK = Work(
    pending=(
        Job(0, 5, 600.0, counted=5),
        Job(1, 5, 600.0, counted=0),
        Job(2, 5, 400.0, counted=5),
        Job(3, 5, 400.0, counted=0),
    ),
    done=1,
    rates=(10.0, 30.0, 20.0),
)


def test_workers_take_the_next_job_when_they_are_free():
    assert makespan([3, 3, 2, 2, 2], 2) == 7
    assert makespan([3, 3, 2, 2, 2], 1) == 12
    assert makespan([3, 1], 5) == 3


@given(st.lists(st.floats(0.1, 100), min_size=1), st.integers(1, 16))
def test_workers_end_no_further_apart_than_one_job_takes(jobs, workers):
    even = sum(jobs) / workers
    assert even * 0.999 <= makespan(sorted(jobs, reverse=True), workers) <= 1.001 * (even + max(jobs))


def test_the_estimate_names_work_time_and_cost():
    assert explain(WORK, rate=2.0, workers=2, price=3.6) == [
        "5 jobs of teacher vectors, 1 of them finished; 20 passages left",
        "2,000 tokens left (from the counts of 50 % of the passages), 600 of them in the longest job",
        "8:20 on 2 at a time with 2 tokens/s each, 0.0 % over an even split",
        "costs 1.00 at 3.60 per hour and worker",
    ]


def test_without_a_rate_that_of_the_finished_jobs_is_taken():
    assert "with 20 tokens/s" in explain(WORK, None, 1, None)[2]


def test_without_any_rate_the_estimate_asks_for_one():
    with pytest.raises(LangtailorError, match="--rate"):
        explain(Work(WORK.pending, 0, ()), None, 1, None)


def test_of_a_run_without_training_the_test_split_alone_is_embedded():
    config = yaml.safe_load((ROOT / "config" / "e5-small-one-language.yaml").read_text(encoding="utf-8"))
    work = read_work(load_settings(config))
    assert sum(shard.passages for shard in work.pending) == pytest.approx(7_000, rel=0.01)


def test_of_a_recipe_that_has_not_run_the_estimate_is_an_upper_bound():
    config = yaml.safe_load((ROOT / "config" / "turkish-200m.yaml").read_text(encoding="utf-8"))
    work = read_work(load_settings(config))
    assert (len(work.pending), work.done) == (15, 0)
    assert sum(job.passages for job in work.pending) == 2 * 140_000 + 38 * 14_000
    assert all(job.passages <= 60_000 for job in work.pending)
    assert all(job.tokens == 2_048 * job.passages for job in work.pending)
    assert "at most" in explain(work, 1e5, 8, None)[1]
