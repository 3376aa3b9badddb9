"""Batches hold what they may and lose nothing."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from langtailor.storage.batching import batched, batched_by_weight

weights = st.lists(st.integers(0, 9), max_size=50)


@given(weights, st.integers(1, 9))
def test_batches_are_full_but_for_the_last(items: list[int], size: int) -> None:
    batches = list(batched(items, size))
    assert list(chain(*batches)) == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(1 <= len(batch) <= size for batch in batches)


@given(weights, st.integers(1, 30), st.integers(1, 9) | st.none())
def test_a_batch_ends_with_the_item_that_makes_it_heavy_or_full(items: list[int], limit: int, size: int | None) -> None:
    batches = list(batched_by_weight(items, lambda item: item, limit, size))
    assert list(chain(*batches)) == items and all(batches)
    assert all(sum(batch[:-1]) < limit and (size is None or len(batch) <= size) for batch in batches)
    assert all(sum(batch) >= limit or len(batch) == size for batch in batches[:-1])
