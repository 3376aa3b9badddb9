"""Batches by length: every text once, within the budget, with little padding; the cheapest partition where one is asked for."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langtailor.models.length_batches import (
    _GPU_MICRO_BATCH_COST,
    _MICRO_BATCH_COST,
    cheapest_batches,
    greedy_batches,
    longest_first,
)

FALLING = st.lists(st.integers(1, 500), max_size=200).map(lambda lengths: sorted(lengths, reverse=True))
FEW = st.lists(st.integers(1, 200), min_size=1, max_size=9).map(lambda lengths: sorted(lengths, reverse=True))


def assert_covers(lengths: list[int], batches: list[slice], budget: int) -> None:
    assert [row for part in batches for row in range(part.start, part.stop)] == list(range(len(lengths)))
    for part in batches:
        rows = part.stop - part.start
        assert rows == 1 or rows * lengths[part.start] <= budget


def test_the_order_is_that_of_falling_length_and_ties_keep_theirs():
    assert longest_first(np.array([3, 9, 3, 1, 9], np.int32)).tolist() == [1, 4, 0, 2, 3]


@given(FALLING, st.integers(1, 3_000))
def test_greedy_batches_cover_all_texts_in_order_within_the_budget(lengths, budget):
    assert_covers(lengths, list(greedy_batches(np.array(lengths, np.int64), lambda: budget)), budget)


@settings(deadline=None)
@given(FALLING, st.integers(1, 3_000), st.sampled_from(["cpu", "cuda"]))
def test_cheapest_batches_cover_all_texts_in_order_within_the_budget(lengths, budget, device):
    assert_covers(lengths, cheapest_batches(np.array(lengths, np.int32), budget, device), budget)


def test_a_lowered_budget_holds_from_the_next_batch_on():
    budgets = iter([40, 10, 10, 10])
    parts = [part.stop - part.start for part in greedy_batches(np.full(10, 10), lambda: next(budgets, 10))]
    assert parts == [4, 1, 1, 1, 1, 1, 1]


def test_short_and_long_texts_do_not_share_a_batch():
    lengths = np.array([100] * 5 + [10] * 50)
    assert next(greedy_batches(lengths, lambda: 400)).stop == 4
    padded = sum((part.stop - part.start) * lengths[part.start] for part in greedy_batches(lengths, lambda: 2_000))
    assert padded == lengths.sum()


def test_a_batch_with_little_in_it_takes_shorter_texts_too():
    lengths = np.array([100, 80, 60, 50, 40, 30])
    assert [part.stop - part.start for part in greedy_batches(lengths, lambda: 2_400)] == [3, 3], "an eighth is 300"


def cost(lengths: list[int], batches: list[slice], device: str) -> int:
    start_cost = {"cpu": _MICRO_BATCH_COST, "cuda": _GPU_MICRO_BATCH_COST}[device]
    return sum(start_cost + lengths[part.start] * (part.stop - part.start) for part in batches)


@settings(deadline=None)
@given(FEW, st.integers(200, 600), st.sampled_from(["cpu", "cuda"]))
def test_no_other_partition_is_cheaper(lengths, budget, device):
    least = cost(lengths, cheapest_batches(np.array(lengths, np.int32), budget, device), device)
    borders = range(1, len(lengths))
    for count in range(len(lengths)):
        for chosen in combinations(borders, count):
            batches = [slice(start, end) for start, end in pairwise([0, *chosen, len(lengths)])]
            if all(lengths[part.start] * (part.stop - part.start) <= budget for part in batches):
                assert least <= cost(lengths, batches, device)


def test_texts_of_mixed_length_are_not_padded_to_the_longest():
    lengths = np.array([400, 390, *[10] * 30], np.int32)
    assert cheapest_batches(lengths, 20_000) == [slice(0, 2), slice(2, 32)]


def test_a_gpu_takes_padding_rather_than_another_small_micro_batch():
    lengths = np.array([100, 90, *[10] * 30], np.int32)
    assert cheapest_batches(lengths, 20_000, "cuda") == [slice(0, 32)]
    assert len(cheapest_batches(np.array([2_000] * 4 + [10] * 30, np.int32), 65_536, "cuda")) == 2


@pytest.mark.parametrize("budget", [1, 99])
def test_a_text_over_the_budget_is_a_batch_of_its_own(budget):
    assert cheapest_batches(np.array([100, 100], np.int32), budget) == [slice(0, 1), slice(1, 2)]
    assert list(greedy_batches(np.array([100, 100]), lambda: budget)) == [slice(0, 1), slice(1, 2)]
