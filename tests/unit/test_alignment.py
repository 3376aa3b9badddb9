"""Word alignment finds what translates what."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langtailor.clone.alignment import _model_one, align
from langtailor.clone.rows import compose
from langtailor.config.initialisation import InitialisationSettings


def ids(*lines):
    return [np.array(line, np.int32) for line in lines]


def links_of(links, token):
    mine = links.student_ids == token
    return dict(zip(links.teacher_ids[mine].tolist(), links.probabilities[mine].tolist(), strict=True))


def test_the_classic_example_is_solved():
    """das Haus / the house, das Buch / the book, ein Buch / a book (Knight 1999)."""
    the, house, book, a = range(4)
    das, haus, buch, ein = range(4)
    links = align(ids([das, haus], [das, buch], [ein, buch]), ids([the, house], [the, book], [a, book]), 4, 4)
    best = {token: max(links_of(links, token).items(), key=lambda item: item[1])[0] for token in range(4)}
    assert best == {das: the, haus: house, buch: book, ein: a}
    assert links.pair_counts.tolist() == [2, 1, 2, 1]


def plain_model_one(sources, targets, iterations):
    """The textbook's loops."""
    chance = {}
    for source, target in zip(sources, targets, strict=True):
        chance |= {(s, t): 1.0 for s in [None, *source] for t in target}
    for _ in range(iterations):
        counts, totals = dict.fromkeys(chance, 0.0), {}
        for source, target in zip(sources, targets, strict=True):
            for t in target:
                line = [None, *source]
                whole = sum(chance[s, t] for s in line)
                for s in line:
                    counts[s, t] += chance[s, t] / whole
        for (s, _), count in counts.items():
            totals[s] = totals.get(s, 0.0) + count
        chance = {(s, t): count / totals[s] for (s, t), count in counts.items()}
    return {key: value for key, value in chance.items() if key[0] is not None}


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 5), max_size=5), st.lists(st.integers(0, 6), max_size=5)), max_size=6)
)
def test_it_is_ibm_model_1(pairs):
    new, old = ids(*(a for a, _ in pairs)), ids(*(b for _, b in pairs))
    keys, chance = _model_one(new, old, 7)
    expected = plain_model_one([a.tolist() for a in new], [b.tolist() for b in old], 8)
    found = {(key // 7, key % 7): value for key, value in zip(keys.tolist(), chance.tolist(), strict=True)}
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(expected[key], rel=1e-6, abs=1e-12) for key in expected)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 5), max_size=5), st.lists(st.integers(0, 6), max_size=5)), max_size=6)
)
def test_links_are_shares(pairs):
    links = align(ids(*(a for a, _ in pairs)), ids(*(b for _, b in pairs)), 6, 7)
    sums = np.bincount(links.student_ids, links.probabilities, minlength=6)
    assert np.allclose(sums[np.unique(links.student_ids)], 1, atol=1e-5)
    assert (np.diff(links.student_ids) >= 0).all()


def test_rows_are_made_of_what_translates_them():
    import torch

    generator = torch.Generator().manual_seed(0)
    table = torch.randn(6, 8, generator=generator)
    links = align(ids([2], [2], [2]), ids([4], [4], [4]), 4, 6)
    teacher_ids = np.array([0, 1, -1, -1], np.int32)
    mapping = compose(
        teacher_ids,
        [(2, 3), (2, 3)],
        np.ones(6, np.int64),
        np.array([0, 1]),
        table,
        InitialisationSettings(method="aligned"),
        links,
    )
    new = mapping.apply(table)
    assert torch.equal(new[:2], table[:2])
    size = table[:2].norm(dim=1).mean()
    known = 3 / 4 * table[4] + 1 / 4 * table[2:4].mean(dim=0)
    assert torch.allclose(new[2], known / known.norm() * size, atol=1e-5)
    never_seen = table[2:4].mean(dim=0)
    assert torch.allclose(new[3], never_seen / never_seen.norm() * size, atol=1e-5)
