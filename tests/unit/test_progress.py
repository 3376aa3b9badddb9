"""A log says what a job is doing, how far it is, how fast and how long still, and is never silent for long."""

from __future__ import annotations

import logging
import re
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from langtailor.models.encoder import Encoder
from langtailor.progress import Heartbeat, Progress, track
from tests.models import make_tiny_bert_teacher


@pytest.fixture(autouse=True)
def _logged(caplog):
    caplog.set_level(logging.INFO, "langtailor")


# -- units of work ----------------------------------------------------------------------------------------------------


def test_the_first_line_says_what_is_to_be_done(caplog):
    with Progress("encoding tr", 2_000, "passage"):
        assert caplog.messages == ["encoding tr: 2,000 passages"]
    with Progress("reading", None, "row"):
        assert caplog.messages[-1] == "reading"


def test_lines_show_share_rate_and_time_left(caplog):
    with Progress("encoding tr", 200, "passage", every=0.0) as progress:
        progress.update(50, "loss 0.5")
    assert re.search(
        r"^encoding tr: \[#####-{15}\]  25 % 50 of 200 passages, [\d.,]+ passages/s, \d+:\d\d left, loss 0.5$",
        caplog.messages[1],
    )


def test_the_first_units_give_no_estimate(caplog):
    with Progress("encoding tr", 1_000, "passage", every=0.0) as progress:
        progress.update(9)
        progress.update(1)
    assert re.search(r" in \d+:\d\d$", caplog.messages[1])
    assert re.search(r" \d+:\d\d left$", caplog.messages[2])


def test_the_last_line_sums_up(caplog):
    assert list(track([1, 2, 3], "cleaning", unit="text")) == [1, 2, 3]
    assert "100 % 3 of 3 texts" in caplog.messages[-1]
    assert re.search(r"in \d+:\d\d$", caplog.messages[-1])


def test_an_unknown_total_is_no_obstacle(caplog):
    list(track(iter("ab"), "reading", unit="row"))
    assert caplog.messages[-1].startswith("reading: 2 rows, ")


def test_a_failure_does_not_claim_the_end(caplog):
    with pytest.raises(ValueError, match="boom"), Progress("x", 3):
        raise ValueError("boom")
    assert caplog.messages == ["x: 3 items"]


# -- silence ----------------------------------------------------------------------------------------------------------

LOG = logging.getLogger("langtailor")


def longest_silence(caplog, started: float) -> float:
    return float(np.diff([started, *(record.created for record in caplog.records), time.time()]).max())


def heartbeats(caplog) -> list[str]:
    return [message for message in caplog.messages if message.startswith("still running, ")]


def test_a_job_that_is_silent_is_said_to_be_running_and_at_what(caplog):
    with Heartbeat("checking the inputs", every=0.05):
        time.sleep(0.25)
        LOG.info("loading %s", "the model")
        LOG.warning("a file is missing")
        time.sleep(0.25)
    lines = heartbeats(caplog)
    assert lines[0] == "still running, 0:00 after: checking the inputs"
    assert lines[-1] == "still running, 0:00 after: loading the model", "a warning is no description of the work"
    assert 4 <= len(lines) <= 10


def test_the_time_is_that_since_the_jobs_own_last_message(caplog):
    with Heartbeat("starting", every=0.05):
        time.sleep(0.75)
    assert heartbeats(caplog)[0].startswith("still running, 0:00 after")
    assert heartbeats(caplog)[-1].startswith("still running, 0:01 after")


def test_a_job_that_speaks_is_not_interrupted(caplog):
    with Heartbeat("starting", every=0.5):
        for number in range(20):
            LOG.info("step %d", number)
            time.sleep(0.05)
    assert heartbeats(caplog) == []


def test_silence_is_counted_from_the_jobs_last_message(caplog):
    started = time.time()
    with Heartbeat("starting", every=0.5):
        time.sleep(0.02)
        LOG.info("loading")
        time.sleep(1.2)
    assert longest_silence(caplog, started) < 0.8


def test_the_heartbeat_ends_with_the_job_also_when_it_fails(caplog):
    before = threading.active_count(), list(LOG.handlers)
    with pytest.raises(ValueError, match="boom"), Heartbeat("starting", every=0.05):
        raise ValueError("boom")
    assert (threading.active_count(), list(LOG.handlers)) == before
    time.sleep(0.15)
    assert heartbeats(caplog) == []


# -- a slow model -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> SentenceTransformer:
    folder: Path = make_tiny_bert_teacher(tmp_path_factory.mktemp("model") / "bert")
    return SentenceTransformer(str(folder), device="cpu").eval()


def test_a_slow_model_is_seen_to_advance_batch_by_batch(caplog, model, monkeypatch):
    """All texts are in one window, which takes 20 times as long as a line may take."""
    monkeypatch.setattr("langtailor.models.encoder.Progress", partial(Progress, every=0.1))

    def slow(features):
        time.sleep(0.1)
        return model(features)["sentence_embedding"]

    Encoder(model, "", 8, slow).encode([f"red house {number}" for number in range(40)], "encoding")
    shares = [int(match[1]) for message in caplog.messages if (match := re.search(r"(\d+) % \d+ of 40", message))]
    assert len(shares) > 8
    assert shares == sorted(shares)
    assert shares[0] < 20


def test_a_model_slower_than_a_line_may_take_is_seen_to_run(caplog, model):
    def slow(features):
        time.sleep(0.6)
        return model(features)["sentence_embedding"]

    started = time.time()
    with Heartbeat("starting", every=0.1):
        Encoder(model, "", 2_048, slow).encode(["red house"] * 4, "encoding")
    assert "still running, 0:00 after: encoding: 4 passages" in caplog.messages
    assert longest_silence(caplog, started) < 0.4
