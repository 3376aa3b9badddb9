from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langtailor.distillation.batches import _GPU_MICRO_BATCH_COST, _MICRO_BATCH_COST, Stream, cut_by_length

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@settings(deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_an_epoch_shows_every_passage_once(sizes, seed):
    stream = Stream(sizes, [1.0] * len(sizes), seed)
    assert sorted(stream.take(0, stream.epoch_length)) == list(range(sum(sizes)))


@settings(deadline=None)
@given(SIZES, st.integers(0, 200), st.integers(1, 200))
def test_the_position_alone_says_what_comes_next(sizes, position, count):
    stream = Stream(sizes, [1.0] * len(sizes), 5)
    later = Stream(sizes, [1.0] * len(sizes), 5).take(position, count)
    assert stream.take(0, position + count)[position:].tolist() == later.tolist()


def test_epochs_and_seeds_differ_in_their_order():
    first = Stream([100], [1.0], 1)
    assert first.take(0, 100).tolist() != first.take(100, 100).tolist()
    assert first.take(0, 100).tolist() != Stream([100], [1.0], 2).take(0, 100).tolist()


def test_weights_say_how_often_a_language_is_seen():
    stream = Stream([10, 10, 10], [1.0, 2.5, 0.0], 3)
    assert stream.epoch_length == 10 + 25
    for epoch in range(3):
        seen = np.bincount(stream.take(epoch * 35, 35), minlength=30)
        assert seen[:10].tolist() == [1] * 10
        assert sorted(seen[10:20]) == [2] * 5 + [3] * 5
        assert seen[20:].tolist() == [0] * 10


def test_the_drawn_half_changes_from_epoch_to_epoch():
    stream = Stream([40], [0.5], 3)
    assert set(stream.take(0, 20)) != set(stream.take(20, 20))


LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=9).map(lambda found: sorted(found, reverse=True))


def cost(lengths: list[int], cuts: list[slice], device: str) -> int:
    pass_cost = {"cpu": _MICRO_BATCH_COST, "cuda": _GPU_MICRO_BATCH_COST}[device]
    return sum(pass_cost + lengths[part.start] * (part.stop - part.start) for part in cuts)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 600))
def test_a_cut_covers_all_passages_within_the_budget(lengths, budget):
    cuts = cut_by_length(np.array(lengths, np.int32), budget)
    assert [row for part in cuts for row in range(len(lengths))[part]] == list(range(len(lengths)))
    for part in cuts:
        size = part.stop - part.start
        assert size == 1 or lengths[part.start] * size <= budget


@settings(deadline=None)
@given(LENGTHS, st.integers(200, 600), st.sampled_from(["cpu", "cuda"]))
def test_no_other_cut_is_cheaper(lengths, budget, device):
    found = cost(lengths, cut_by_length(np.array(lengths, np.int32), budget, device), device)
    borders = range(1, len(lengths))
    for count in range(len(lengths)):
        for chosen in combinations(borders, count):
            edges = [0, *chosen, len(lengths)]
            cuts = [slice(a, b) for a, b in pairwise(edges)]
            if all(lengths[part.start] * (part.stop - part.start) <= budget for part in cuts):
                assert found <= cost(lengths, cuts, device)


def test_texts_of_mixed_length_are_not_padded_to_the_longest():
    lengths = np.array([400, 390, *[10] * 30], np.int32)
    assert cut_by_length(lengths, 20_000) == [slice(0, 2), slice(2, 32)]


def test_a_gpu_takes_padding_rather_than_another_small_pass():
    lengths = np.array([100, 90, *[10] * 30], np.int32)
    assert cut_by_length(lengths, 20_000, "cuda") == [slice(0, 32)]
    assert len(cut_by_length(np.array([2_000] * 4 + [10] * 30, np.int32), 65_536, "cuda")) == 2


@pytest.mark.parametrize("budget", [1, 99])
def test_a_passage_over_the_budget_is_a_pass_of_its_own(budget):
    assert cut_by_length(np.array([100, 100], np.int32), budget) == [slice(0, 1), slice(1, 2)]
