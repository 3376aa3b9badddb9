"""How new rows are fitted: the rate falls to nothing, and each passage has its turn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from langtailor.clone.token_distillation import _batches, fit_rows
from langtailor.config.initialisation import TokenDistillationSettings
from tests.unit.surgery_teachers import TARGET, TEXTS
from tests.unit.test_cloning import make_workshop
from tests.unit.test_token_distillation import write_corpus


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return make_workshop(tmp_path_factory.mktemp("bert"), "bert")


def test_the_rate_falls_linearly_from_its_peak(workshop, monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def noted(optimizer, *arguments, **options):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    corpora = write_corpus(workshop.root / "tr.parquet", [*TEXTS, *TARGET])
    settings = TokenDistillationSettings(steps=4, batch_size=4, learning_rate=0.8)
    fit = fit_rows(workshop.teacher, workshop.clone(), np.array(workshop.new), corpora, settings, 1)
    assert rates == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert fit.rows.shape == (len(workshop.new), 32)


def test_every_passage_is_read_once_before_any_is_read_again():
    passages = [str(i) for i in range(7)]
    settings = TokenDistillationSettings(steps=7, batch_size=2)
    read = [text for batch in _batches(passages, settings, 3) for text in batch]
    assert sorted(read[:7]) == sorted(read[7:]) == passages
    assert read[:7] != read[7:]


def test_passages_are_read_behind_the_prompt_as_the_teacher_reads_them(workshop, monkeypatch):
    read = []

    def noted(passages, *arguments):
        read.extend(passages)
        return _batches(passages, *arguments)

    monkeypatch.setattr("langtailor.clone.token_distillation._batches", noted)
    corpora = write_corpus(workshop.root / "tr.parquet", [*TEXTS, *TARGET])
    settings = TokenDistillationSettings(steps=1, batch_size=4)
    losses = {}
    for prompt in ("", "query: "):
        fit = fit_rows(
            workshop.teacher, workshop.clone(), np.array(workshop.new), corpora, settings, 1, prompts={"tr": prompt}
        )
        losses[prompt] = fit.before
    half = len(read) // 2
    assert read[half:] == [f"query: {text}" for text in read[:half]]
    assert losses["query: "] != losses[""]
