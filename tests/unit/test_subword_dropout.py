"""Subword dropout: pieces in place of tokens; by seed, step and passage alone; never longer than the limit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from tokenizers import Tokenizer

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.data import load_data
from langtailor.distillation.gradients import BatchGradient
from langtailor.distillation.objective import Objective
from langtailor.distillation.student import Student
from langtailor.distillation.subword_dropout import Pieces, SubwordDropout
from langtailor.storage.artifacts import read_manifest
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher
from tests.unit.distillation_world import DEFAULTS, WEIGHTS, make_world

TEXT = "the small bird walks under the old stone house over seven green rivers"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


@pytest.fixture(scope="module")
def passages(world):
    return load_data(world.clone, world.tokens, world.vectors, DistillationSettings(**DEFAULTS)).train


@pytest.mark.parametrize("make", [make_tiny_bert_teacher, make_tiny_xlmr_teacher, make_tiny_gemma_teacher])
def test_pieces_spell_the_text_of_the_tokens_that_they_replace(make, tmp_path):
    folder = make(tmp_path / "model")
    tokenizer, pieces = Tokenizer.from_file(str(folder / "tokenizer.json")), Pieces.read(folder)
    ids = np.array(tokenizer.encode(TEXT).ids, np.int32)
    every = pieces.replacing(ids, np.ones(len(ids), bool))
    assert len(every) > len(ids)
    assert tokenizer.decode(every.tolist()).replace(" ", "") == tokenizer.decode(ids.tolist()).replace(" ", "")
    assert pieces.replacing(ids, np.zeros(len(ids), bool)).tolist() == ids.tolist()
    special = np.array(tokenizer.encode("").ids, np.int32)
    assert pieces.replacing(special, np.ones(len(special), bool)).tolist() == special.tolist()


def test_by_hand():
    pieces = Pieces([(), (), (0, 1), (), (2, 1, 0)])
    ids = np.array([4, 3, 2, 4, 1], np.int32)
    assert pieces.replacing(ids, np.array([True, True, False, False, True])).tolist() == [2, 1, 0, 3, 2, 4, 1]
    assert pieces.replacing(ids, np.ones(5, bool)).tolist() == [2, 1, 0, 3, 0, 1, 2, 1, 0, 1]


def drawn(world, passages, step=3, **changes):
    arguments = {"share": 0.5, "seed": 1, "limit": 512} | changes
    rows = np.arange(40)
    ids = SubwordDropout(passages, Pieces.read(world.clone), **arguments)(passages.tokens(rows), rows, step)
    return [its.tolist() for its in ids]


def test_a_draw_depends_on_seed_step_and_passage(world, passages):
    assert drawn(world, passages) == drawn(world, passages)
    assert drawn(world, passages) != drawn(world, passages, step=4)
    assert drawn(world, passages) != drawn(world, passages, seed=2)
    some = np.arange(10, 20)
    alone = SubwordDropout(passages, Pieces.read(world.clone), 0.5, 1, 512)(passages.tokens(some), some, 3)
    assert [its.tolist() for its in alone] == drawn(world, passages)[10:20]


def test_about_the_share_is_dropped_and_the_beginning_of_all_passages_stays(world, passages):
    before = [its.tolist() for its in passages.tokens(np.arange(40))]
    few, many = drawn(world, passages, share=0.1), drawn(world, passages, share=0.9)
    tokens = [sum(map(len, texts)) for texts in (before, few, many)]
    assert tokens[0] < tokens[1] < tokens[2]
    assert {its[0] for its in many} == {its[0] for its in before}
    assert len({tuple(its) for its in before}) > 30, "the passages differ, so that only their first tokens are common"


def test_a_passage_stays_as_it_is_where_pieces_would_pass_the_limit(world, passages):
    longest = int(passages.lengths[:40].max())
    kept = drawn(world, passages, share=0.9, limit=longest)
    before = [its.tolist() for its in passages.tokens(np.arange(40))]
    assert all(len(its) <= longest for its in kept)
    assert any(one == other for one, other in zip(kept, before, strict=True))
    assert any(one != other for one, other in zip(kept, before, strict=True))


def test_the_gradient_is_that_of_the_drawn_tokens_however_the_batch_is_split(world):
    settings = DistillationSettings(**{**DEFAULTS, "subword_dropout": 0.5, "objective": {"relational": 5.0}})
    data = load_data(world.clone, world.tokens, world.vectors, settings)

    def gradient(budget: int, share: float) -> torch.Tensor:
        student = Student(world.clone, settings, torch.device("cpu"))
        student.unfreeze("everything")
        student.wrap(student.model)
        dropout = SubwordDropout(data.train, Pieces.read(world.clone), share, 1, 24)
        accelerator, objective = Accelerator(cpu=True), Objective(settings.objective)
        BatchGradient(accelerator, student, objective, data.train, budget, 1, dropout)(np.arange(3, 27), step=0)
        student.densify_gradient("everything")
        return torch.cat([p.grad.flatten() for p in student.parameters().values() if p.grad is not None])

    whole = gradient(100_000, 0.5)
    torch.testing.assert_close(gradient(60, 0.5), whole, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(gradient(100_000, 0.0), whole, rtol=1e-2, atol=1e-4)


def test_training_and_validation_read_the_setting(world, tmp_path):
    students = {
        share: world.distil(tmp_path / f"{share}", subword_dropout=share, epochs=1, keep="last") for share in (0.0, 0.4)
    }
    weights = {share: load_file(student / WEIGHTS) for share, student in students.items()}
    assert any(not torch.equal(value, weights[0.4][name]) for name, value in weights[0.0].items())
    before = {share: read_manifest(student, "distilled").facts["before"] for share, student in students.items()}
    assert before[0.4]["cosine"] != pytest.approx(before[0.0]["cosine"], abs=1e-3), "of validations before any training"
