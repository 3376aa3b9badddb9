"""Progress can be read from a log: how far, how fast, how long still."""

import logging
import re

import pytest

from langtailor.progress import Progress, track


def test_lines_show_share_rate_and_time_left(caplog):
    caplog.set_level(logging.INFO, "langtailor")
    with Progress("encoding tr", 200, "passage", every=0.0) as progress:
        progress.update(50, "loss 0.5")
    first = caplog.messages[0]
    assert re.search(
        r"^encoding tr: \[#####-{15}\]  25 % 50 of 200 passages, [\d.,]+ passages/s, \d+:\d\d left, loss 0.5$", first
    )


def test_the_first_units_foretell_nothing(caplog):
    caplog.set_level(logging.INFO, "langtailor")
    with Progress("encoding tr", 1_000, "passage", every=0.0) as progress:
        progress.update(9)
        progress.update(1)
    assert re.search(r" in \d+:\d\d$", caplog.messages[0])
    assert re.search(r" \d+:\d\d left$", caplog.messages[1])


def test_the_last_line_tells_the_whole(caplog):
    caplog.set_level(logging.INFO, "langtailor")
    assert list(track([1, 2, 3], "cleaning", unit="text")) == [1, 2, 3]
    assert "100 % 3 of 3 texts" in caplog.messages[-1]
    assert re.search(r"in \d+:\d\d$", caplog.messages[-1])


def test_an_unknown_total_is_no_obstacle(caplog):
    caplog.set_level(logging.INFO, "langtailor")
    list(track(iter("ab"), "reading", unit="row"))
    assert caplog.messages[-1].startswith("reading: 2 rows, ")


def test_a_failure_does_not_claim_the_end(caplog):
    caplog.set_level(logging.INFO, "langtailor")
    with pytest.raises(ValueError, match="boom"), Progress("x", 3):
        raise ValueError("boom")
    assert caplog.messages == []
