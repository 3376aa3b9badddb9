from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from langtailor.distillation.stream import Stream

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
