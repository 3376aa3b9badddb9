"""The method `agreement`: the rows whose untrained clone is nearest to the teacher in the target languages."""

from pathlib import Path

import pytest

from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation import agreement_rows
from langtailor.evaluation.agreement_rows import RowMethodResult, RowMethodTrials, choose_row_method, read_row_method
from langtailor.report.vocabulary import row_trial_rows
from langtailor.storage.artifacts import Manifest

COSINES = {
    "mean": {"en": 0.99, "tr": 0.90},
    "learned": {"en": 0.98, "tr": 0.93},
    "aligned": {"en": 0.95, "tr": 0.92},
}


class Played(RowMethodTrials):
    """Trials without models."""

    grafts = True

    def _has_grafts(self) -> bool:
        return self.grafts

    def _try(self, settings: InitialisationSettings) -> RowMethodResult:
        cosine = COSINES[settings.method]
        return RowMethodResult(settings.method, cosine, sum(cosine[lang] for lang in self.targets) / len(self.targets))


def choose(tmp_path, monkeypatch, targets=("tr",), pairs=True, method="agreement"):
    monkeypatch.setattr(agreement_rows, "read_text_pairs", lambda corpus, split: [("a", "b")] if pairs else [])
    nowhere = Path("nowhere")
    reading, corpora = TeacherSettings(model="tiny"), {"tr": nowhere}
    trials = Played(nowhere, nowhere, nowhere, corpora, {}, reading, targets, 0, "cpu", tmp_path / "x")
    choose_row_method(trials, InitialisationSettings(method=method), tmp_path / "method.json")
    return read_row_method(tmp_path / "method.json")


@pytest.mark.parametrize(("targets", "expected"), [(["tr"], "learned"), (["en"], "mean"), (["en", "tr"], "learned")])
def test_the_method_is_best_for_the_target_languages(tmp_path, monkeypatch, targets, expected):
    method, trials = choose(tmp_path, monkeypatch, targets)
    assert method == expected
    assert [trial["method"] for trial in trials] == ["mean", "learned", "aligned"]
    assert trials[2]["cosine"] == COSINES["aligned"]


def test_without_pairs_nothing_is_aligned(tmp_path, monkeypatch):
    _, trials = choose(tmp_path, monkeypatch, pairs=False)
    assert [trial["method"] for trial in trials] == ["mean", "learned"]


def test_without_new_tokens_nothing_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(Played, "grafts", False)
    method, trials = choose(tmp_path, monkeypatch)
    assert (method, len(trials)) == ("mean", 1)


def test_a_method_that_is_named_is_the_only_one(tmp_path, monkeypatch):
    assert choose(tmp_path, monkeypatch, method="aligned")[0] == "aligned"


def test_of_equal_methods_the_simplest_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.unit.test_row_agreement.COSINES", {method: {"tr": 0.9} for method in COSINES})
    assert choose(tmp_path, monkeypatch)[0] == "mean"


def test_the_report_shows_the_trials(tmp_path, monkeypatch):
    _, trials = choose(tmp_path, monkeypatch)
    assert row_trial_rows(Manifest("clone", {"method": "learned"}, facts={"row_trials": trials})) == [
        {"method": "mean", "cosine": "en 0.9900, tr 0.9000", "chosen": False},
        {"method": "learned", "cosine": "en 0.9800, tr 0.9300", "chosen": True},
        {"method": "aligned", "cosine": "en 0.9500, tr 0.9200", "chosen": False},
    ]
    assert row_trial_rows(Manifest("clone", {"method": "mean"}, facts={"row_trials": []})) == []
