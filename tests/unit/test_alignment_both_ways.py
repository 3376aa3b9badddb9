"""A link is believed as far as both directions of the alignment agree on it."""

from __future__ import annotations

import numpy as np
import pytest

from langtailor.clone.alignment import align
from tests.unit.test_alignment import ids, links_of, plain_model_one

#: New token 0 stands with teacher tokens 0 and 1; teacher token 1 stands everywhere, so that from its side it means little.
NEW = ([0, 1], [0, 2], [1], [2], [1, 2], [3])
OLD = ([0, 1], [0, 1], [1, 2], [1, 3], [1, 2, 3], [1, 0])


def expected(token, *, reverse):
    """Links by the textbook's loops, in both directions or in one."""
    forth, back = plain_model_one(NEW, OLD, 8), plain_model_one(OLD, NEW, 8)
    scores = {old: chance * (back[old, new] if reverse else 1) for (new, old), chance in forth.items() if new == token}
    scores = {old: score for old, score in scores.items() if score >= 0.05 * max(scores.values())}
    return {old: score / sum(scores.values()) for old, score in scores.items()}


@pytest.mark.parametrize("token", range(4))
def test_a_link_is_the_product_of_both_directions(token):
    links = align(ids(*NEW), ids(*OLD), 4, 4)
    assert links_of(links, token) == pytest.approx(expected(token, reverse=True), abs=1e-5)


def test_the_reverse_direction_takes_a_link_from_a_token_that_stands_everywhere():
    links = links_of(align(ids(*NEW), ids(*OLD), 4, 4), 0)
    one_way = expected(0, reverse=False)
    assert links.get(1, 0.0) < one_way[1] / 2
    assert max(links, key=links.get) == 0


def test_a_token_that_stands_twice_in_a_pair_is_used_in_one():
    links = align(ids([0, 0], [1]), ids([0], [1]), 2, 2)
    assert links.pair_counts.tolist() == [1, 1]
    assert np.array_equal(links.student_ids, [0, 1])
