"""Rows of the new table: kept ones are copies, new ones are what the formula of their method says."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from langtailor.clone.rows import RowMapping, compose, draw
from langtailor.config.initialisation import InitialisationSettings
from langtailor.surgery.segmentation import segment
from langtailor.surgery.spelling import ByteLevelSpelling
from tests.unit.surgery_teachers import byte_level_spec, sentencepiece_model, unigram_spec, wordpiece_spec

ROWS, WIDTH = 40, 6
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def teacher_table(dtype: torch.dtype = torch.float32, rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(5)).to(dtype)


def make(
    teacher_ids: Sequence[int],
    pieces: Sequence[Sequence[int]],
    table: torch.Tensor,
    method: str = "mean",
    characters: Sequence[int] = (),
    **settings: float,
) -> RowMapping:
    ids = np.array(teacher_ids, np.int32)
    lengths = np.array(characters or [1] * len(table), np.int64)
    chosen = InitialisationSettings(method=method, **settings)
    return compose(ids, pieces, lengths, np.flatnonzero(ids >= 0), table, chosen)


@pytest.mark.parametrize("dtype", DTYPES)
def test_kept_rows_are_bit_identical_in_any_precision(dtype):
    table = teacher_table(dtype)
    table[3] = -0.0
    table[4] = torch.finfo(dtype).tiny / 2  # arithmetic could flush it
    new = make([4, -1, 3, 17], [(5, 6)], table).apply(table)
    assert new.dtype == dtype
    bits = {2: torch.int16, 4: torch.int32}[table.element_size()]
    assert torch.equal(new[[0, 2, 3]].view(bits), table[[4, 3, 17]].view(bits))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_new_row_is_the_mean_in_float32_cast_once(dtype):
    table = teacher_table(dtype)
    new = make([0, -1, -1], [(1, 2, 3), (7,)], table).apply(table)
    mean = table[[1, 2, 3]].double().mean(dim=0)
    torch.testing.assert_close(new[1].double(), mean.to(dtype).double(), rtol=1e-6, atol=1e-7)
    assert torch.equal(new[2], table[7])


def test_a_row_without_pieces_is_zero():
    table = teacher_table()
    assert make([2, -1], [()], table).apply(table)[1].count_nonzero() == 0


def test_an_output_bias_is_made_like_the_table():
    bias = torch.arange(ROWS, dtype=torch.float32)
    assert make([4, -1, -1], [(10, 20), ()], teacher_table()).apply(bias).tolist() == [4.0, 15.0, 0.0]


@given(st.data())
def test_any_mapping_is_the_weighted_sum_of_its_rows(data):
    count = data.draw(st.integers(1, 12))
    teacher_ids = data.draw(st.lists(st.integers(-1, ROWS - 1), min_size=count, max_size=count))
    piece = st.lists(st.integers(0, ROWS - 1), max_size=5)
    pieces = [data.draw(piece) for i in teacher_ids if i < 0]
    table = teacher_table()
    mapping = make(teacher_ids, pieces, table, "length-weighted", characters=[1 + i % 7 for i in range(ROWS)])
    expected = np.zeros((count, WIDTH))
    for row in range(count):
        for entry in range(mapping.offsets[row], mapping.offsets[row + 1]):
            expected[row] += mapping.weights[entry] * table[mapping.teacher_ids[entry]].double().numpy()
    np.testing.assert_allclose(mapping.apply(table).numpy(), expected, atol=1e-6)
    used = mapping.counts > 0
    totals = np.bincount(mapping.owners, mapping.weights, minlength=count)
    np.testing.assert_allclose(totals[used], 1, rtol=1e-6)
    assert (used == [i >= 0 or len(pieces.pop(0)) > 0 for i in teacher_ids]).all()


def test_long_pieces_lead_when_weighted_by_length():
    lengths = [1] * ROWS
    lengths[8], lengths[9] = 3, 1
    mapping = make([0, -1], [(8, 9)], teacher_table(), "length-weighted", characters=lengths)
    assert mapping.weights.tolist() == [1.0, 0.75, 0.25]


def test_norm_matching_changes_the_length_alone():
    table = teacher_table()
    kept = list(range(10))
    mean, matched = (
        make([*kept, -1, -1, -1], [(20, 21), (22, 23, 24, 25), ()], table, method).apply(table)
        for method in ("mean", "norm-matched")
    )
    target = table[kept].norm(dim=1).mean()
    torch.testing.assert_close(matched[10:12].norm(dim=1), target.expand(2))
    torch.testing.assert_close(torch.cosine_similarity(matched[10:12], mean[10:12]), torch.ones(2))
    assert torch.equal(matched[:10], table[:10])
    assert not matched[12].any()


def test_norm_matching_survives_pieces_that_cancel():
    table = teacher_table()
    table[21] = -table[20]
    assert torch.isfinite(make([0, -1], [(20, 21)], table, "norm-matched").apply(table)).all()


def test_similarity_combines_the_nearest_kept_rows():
    table = teacher_table()
    mapping = make([*range(12), -1], [(30, 31)], table, "similarity", neighbours=3, temperature=0.2)
    mean = table[[30, 31]].mean(dim=0)
    cosines = torch.cosine_similarity(table[:12], mean[None])
    best = cosines.topk(3)
    assert mapping.teacher_ids[12:].tolist() == best.indices.tolist()
    expected = torch.softmax(best.values / 0.2, dim=0) @ table[best.indices]
    torch.testing.assert_close(mapping.apply(table)[12], expected)


def test_similarity_leaves_special_tokens_out():
    table = teacher_table()
    table[0] = table[[30, 31]].mean(dim=0)  # nearer than any other, but special
    ids = np.array([0, 1, 2, -1], np.int32)
    settings = InitialisationSettings(method="similarity", neighbours=2)
    mapping = compose(ids, [(30, 31)], np.ones(ROWS, np.int64), np.array([1, 2]), table, settings)
    assert set(mapping.teacher_ids[3:].tolist()) == {1, 2}


def test_similarity_takes_what_there_is_when_fewer_tokens_are_kept_than_wanted():
    table = teacher_table()
    mapping = make([3, 5, -1, -1, -1], [(1, 2), (), (4,)], table, "similarity", neighbours=8)
    assert mapping.counts.tolist() == [1, 1, 2, 0, 2]


def test_random_rows_have_the_teachers_distribution_and_follow_the_seed():
    table = teacher_table(rows=9_000) * torch.arange(1, WIDTH + 1) + 3
    rows = np.arange(2, 20_000)

    def drawn(seed: int) -> torch.Tensor:
        new = make([0, 1, *[-1] * len(rows)], [()] * len(rows), table, "random").apply(table)
        draw(new, rows, table, seed)
        return new

    new = drawn(7)
    assert torch.equal(new[:2], table[:2])
    torch.testing.assert_close(new[2:].mean(dim=0), table.mean(dim=0), atol=0.15, rtol=0)
    torch.testing.assert_close(new[2:].std(dim=0), table.std(dim=0), atol=0, rtol=0.05)
    assert torch.equal(new, drawn(7))
    assert not torch.equal(new, drawn(8))


def test_many_rows_are_composed_as_few_are():
    table = teacher_table()
    pieces = [(i % ROWS, (3 * i + 1) % ROWS) for i in range(20_000)]
    new = make([5, *[-1] * len(pieces)], pieces, table).apply(table)
    torch.testing.assert_close(new[1:], torch.stack([table[list(ids)].mean(dim=0) for ids in pieces]))


# -- pieces -----------------------------------------------------------------------------------------------------------


def names(spec: dict, ids: Sequence[int]) -> list[str]:
    vocab = spec["model"]["vocab"]
    by_id = [token for token, _ in vocab] if isinstance(vocab, list) else {i: token for token, i in vocab.items()}
    return [by_id[i] for i in ids]


def wordpiece(*tokens: str) -> dict:
    spec = json.loads(wordpiece_spec())
    spec["model"]["vocab"] = {token: i for i, token in enumerate(("[UNK]", *tokens))}
    return spec


def test_a_wordpiece_continuation_is_cut_as_one():
    spec = wordpiece("ler", "den", "##ler", "##den", "ev")
    cut = [names(spec, ids) for ids in segment(spec, ["##lerden", "lerden", "evler"])]
    assert cut == [["##ler", "##den"], ["ler", "##den"], ["ev", "##ler"]]


def test_text_that_the_teacher_cannot_write_is_its_unknown_token():
    spec = wordpiece("ev")
    assert [names(spec, ids) for ids in segment(spec, ["囍", "##囍"])] == [["[UNK]"], ["[UNK]"]]


def test_unknown_parts_do_not_enter_where_there_are_known_ones():
    spec = unigram_spec(sentencepiece_model())
    found = names(spec, segment(spec, ["▁deniz囍"])[0])
    assert "<unk>" not in found
    assert "".join(found) == "▁deniz"


def test_a_piece_keeps_its_place_in_the_word():
    spec = unigram_spec(sentencepiece_model())
    start, inside = (names(spec, ids) for ids in segment(spec, ["▁denizler", "denizler"]))
    assert "".join(start) == "▁denizler"
    assert "".join(inside) == "denizler"


def test_parts_of_characters_are_cut_by_their_bytes():
    spec = json.loads(byte_level_spec())
    half = ByteLevelSpelling().spell("öprülerimiz")[1:]
    pieces = names(spec, segment(spec, [half])[0])
    assert len(pieces) > 1
    assert "".join(pieces) == half


def test_a_token_that_the_teacher_has_is_that_one():
    spec = wordpiece("ev", "##ler", "evler")
    assert [names(spec, ids) for ids in segment(spec, ["evler", "##ler"])] == [["evler"], ["##ler"]]


def test_no_special_token_ever_enters():
    spec = unigram_spec(sentencepiece_model())
    special = {entry["id"] for entry in spec["added_tokens"]}
    assert all(special.isdisjoint(ids) for ids in segment(spec, ["▁vapurlar", "▁eskiler", "larımız"]))
