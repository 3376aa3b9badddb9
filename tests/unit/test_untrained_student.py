"""A training that did not help is named where a reader looks: on the model card and on the report's page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from langtailor.config.base import SPLITS
from langtailor.report.corpus import CorpusRow
from langtailor.report.page import Page, VariantPart, write_report
from langtailor.report.scores import ScorePart
from langtailor.report.steps import StepTable
from langtailor.report.summary import Summary
from langtailor.report.training import TrainingPart, training_note
from langtailor.report.usage import Usage
from langtailor.report.vocabulary import VocabularyPart
from langtailor.storage.artifacts import Manifest, seal_directory
from langtailor.student.card import CardFacts, assemble_student
from tests.models import make_tiny_bert_teacher


@pytest.mark.parametrize(("kept_step", "untrained"), [(0, True), (1, False), (500, False)])
def test_the_card_says_whether_the_model_is_the_untrained_clone(tmp_path, kept_step, untrained):
    for name, manifest in (
        ("teacher", Manifest("teacher", inputs={"commit": None})),
        ("model", Manifest("distilled", facts={"kept_step": kept_step})),
    ):
        make_tiny_bert_teacher(tmp_path / name)
        seal_directory(tmp_path / name, manifest)
    facts = CardFacts(
        "run",
        "tailored",
        ["tr"],
        ["en", "tr"],
        {"model": "who/what", "prompt": None, "language_prompts": {}, "reads": "text"},
        {},
        ["teacher", "cut", "trained"],
        {},
        {},
    )
    assemble_student(tmp_path / "model", tmp_path / "teacher", facts, [], tmp_path / "student")
    card = (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
    assert ("Training did not help: " in card) is untrained
    assert ("this model is the untrained clone" in card) is untrained
    assert "It was trained to give the teacher's vectors." in card


def variant(note: str) -> VariantPart:
    nothing: dict = dict.fromkeys(("harm", "checks", "export_columns", "export_rows"), ())
    rows = dict.fromkeys(
        ("token_columns", "token_rows", "graft_rows", "share_rows", "trial_rows", "row_trial_rows"), ()
    )
    plots = dict.fromkeys(("composition_plot", "fertility_plot", "share_plot"), "<svg></svg>")
    return VariantPart(
        "tailored",
        Summary("is it.", "", False),
        steps=StepTable((), ()),
        parameters=1,
        neighbours=None,
        scores=ScorePart({}, [[]], (), ()),
        training=TrainingPart(note, ()),
        retrieval=None,
        vocabulary=VocabularyPart(size=1, new_tokens=0, **rows, **plots),
        settings="",
        **nothing,
    )


def written(part: VariantPart, folder: Path) -> str:
    """A report of one variant."""
    corpus = [CorpusRow("tr", "sample", dict.fromkeys(SPLITS, 1), dict.fromkeys(SPLITS, 1), 1, 1, "nothing")]
    told = Page(
        "title", "", ["tr"], "teacher", 1, Usage(["'...'"], ""), [], [], corpus, "<svg></svg>", None, [part], []
    )
    write_report(told, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("kept_step", "untrained"), [(0, True), (1, False), (500, False)])
def test_the_page_says_whether_the_student_is_the_untrained_clone(tmp_path, kept_step, untrained):
    page = written(variant(training_note({"kept_step": kept_step})), tmp_path)
    training = page[page.index("<h3>Training</h3>") :]
    assert ("Training did not help: " in training) is untrained
    assert ("so the student is the untrained clone" in training) is untrained


@pytest.mark.parametrize("plot", ["<svg></svg>", ""])
def test_the_page_has_tokens_per_word_only_if_there_was_text_to_count(tmp_path, plot):
    part = variant("")
    page = written(replace(part, vocabulary=replace(part.vocabulary, fertility_plot=plot)), tmp_path)
    assert ("Tokens per word, validation split" in page) is bool(plot)
