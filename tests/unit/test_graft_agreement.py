"""The policy `agreement`: the largest share of new tokens whose clone stays within the tolerance."""

import pytest

from langtailor.errors import ConfigError
from langtailor.evaluation.agreement_share import ShareResult, choose_graft_share
from langtailor.report.vocabulary import trial_rows
from langtailor.storage.artifacts import read_json


def choose(tmp_path, harm, largest=0.0, tolerance=0.005):
    """What is chosen where a share costs Turkish ``harm(share)`` of cosine, and the shares that were tried."""
    tried = []

    def trial(share):
        tried.append(share)
        cosine, fertility = {"en": 0.99, "tr": 0.95 - harm(share)}, {"en": 1.3, "tr": 2 - share}
        return ShareResult(share, round(1000 * share), cosine, fertility)

    choose_graft_share(trial, largest, tolerance, tmp_path / "share.json")
    return read_json(tmp_path / "share.json", "graft share"), tried


@pytest.mark.parametrize(
    ("harm", "largest", "expected"),
    [
        (lambda share: 0.0, 0.0, 0.5),
        (lambda share: 0.0, 0.25, 0.25),
        (lambda share: share, 0.0, 0.0),
        (lambda share: share / 10, 0.0, 0.05),
        (lambda share: share / 10, 0.03, 0.03),
        (lambda share: share / 30, 0.25, 0.1),
        (lambda share: -share, 0.0, 0.5),
    ],
)
def test_the_largest_share_within_the_tolerance_is_chosen(tmp_path, harm, largest, expected):
    chosen, _ = choose(tmp_path, harm, largest)
    assert chosen["share"] == expected


def test_few_shares_are_tried_and_all_are_reported(tmp_path):
    chosen, tried = choose(tmp_path, lambda share: share / 10)
    assert tried[0] == 0.0, "the clone without new tokens is what the others are compared with"
    assert len(tried) == len(set(tried)) <= 5
    assert [trial["share"] for trial in chosen["trials"]] == sorted(tried)
    harm = {trial["share"]: trial["harm"] for trial in chosen["trials"]}
    assert harm[0.0] == 0 and harm[0.05] == pytest.approx(0.005)


def test_a_share_that_leaves_too_little_room_is_not_chosen(tmp_path):
    def harm(share):
        if share > 0.2:
            raise ConfigError("vocabulary.size", "too small")
        return 0.0

    chosen, _ = choose(tmp_path, harm)
    assert chosen["share"] == 0.2


def test_settings_that_are_wrong_without_new_tokens_are_refused(tmp_path):
    def harm(share):
        raise ConfigError("vocabulary.size", "too small")

    with pytest.raises(ConfigError, match="too small"):
        choose(tmp_path, harm)


def test_the_report_shows_the_trials(tmp_path):
    chosen, _ = choose(tmp_path, lambda share: share / 10, largest=0.05)
    rows = trial_rows({"graft_share": chosen["share"], "share_trials": chosen["trials"]})
    assert [row["chosen"] for row in rows] == [False] * (len(rows) - 1) + [True]
    assert rows[-1] == {
        "share": "5.0 %",
        "grafts": "50",
        "cosine": "en 0.9900, tr 0.9450",
        "harm": "0.0050",
        "fertility": "en 1.30, tr 1.95",
        "chosen": True,
    }
    assert trial_rows({"graft_share": 0.0, "share_trials": []}) == []
