"""Of passages that say the same, the first one stays."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langtailor.corpus.deduplication import PERMUTATIONS, Deduplicator, band_rows, signatures_of

LETTERS = "abcdefghijklmnoprstuvyzçğıöşü"


def passage(rng: random.Random, words: int) -> list[str]:
    return ["".join(rng.choices(LETTERS, k=rng.randrange(2, 10))) for _ in range(words)]


def edited(rng: random.Random, words: list[str], changes: int) -> list[str]:
    copy = list(words)
    for place in rng.sample(range(len(copy)), changes):
        copy[place] = passage(rng, 1)[0]
    return copy


def jaccard(one: str, other: str) -> float:
    first, second = ({(text + "\0" * 4)[i : i + 5] for i in range(len(text))} for text in (one, other))
    return len(first & second) / len(first | second)


def test_case_and_white_space_make_no_difference() -> None:
    verdicts = Deduplicator(None).judge(["Bir iki  üç", "BIR IKI ÜÇ", " bir\niki üç ", "Straße", "STRASSE", "Strasse!"])
    assert verdicts == ["new", "exact_duplicate", "exact_duplicate", "new", "exact_duplicate", "new"]


def test_near_duplicates_stay_where_only_exact_ones_are_looked_for() -> None:
    text = " ".join(passage(random.Random(1), 100))
    assert Deduplicator(None).judge([text, text + "!", text]) == ["new", "new", "exact_duplicate"]


def test_the_estimate_of_the_jaccard_similarity_is_unbiased() -> None:
    rng = random.Random(2)
    errors = []
    for _ in range(300):
        words = passage(rng, rng.choice([5, 40, 300]))
        one, other = " ".join(words), " ".join(edited(rng, words, rng.randrange(len(words))))
        exact = jaccard(one, other)
        first, second = signatures_of([one, other])
        deviation = max((exact * (1 - exact) / PERMUTATIONS) ** 0.5, 1e-9)
        errors.append((np.mean(first == second) - exact) / deviation)
    assert abs(np.mean(errors)) < 0.25
    assert 0.8 < np.std(errors) < 1.2


def test_nearly_all_pairs_above_the_threshold_are_found_and_nearly_none_far_below() -> None:
    rng = random.Random(3)
    originals = [passage(rng, 150) for _ in range(400)]
    copies = [" ".join(edited(rng, words, 3)) for words in originals]
    relatives = [" ".join(edited(rng, words, 40)) for words in originals]
    index = Deduplicator(0.8)
    assert set(index.judge([" ".join(words) for words in originals])) == {"new"}
    assert index.judge(relatives).count("near_duplicate") == 0
    assert index.judge(copies).count("near_duplicate") >= 396


def test_a_duplicate_of_a_dropped_passage_is_judged_by_the_kept_ones_alone() -> None:
    rng = random.Random(4)
    first = passage(rng, 200)
    second = edited(rng, first, 18)
    third = edited(rng, second, 18)
    texts = [" ".join(words) for words in (first, second, third)]
    assert jaccard(texts[0], texts[1]) > 0.73 < jaccard(texts[1], texts[2])
    assert jaccard(texts[0], texts[2]) < 0.65
    verdicts = Deduplicator(0.68).judge(texts)
    assert verdicts == ["new", "near_duplicate", "new"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 60), min_size=1, max_size=8), st.floats(0.3, 1.0))
def test_how_passages_are_handed_over_changes_no_verdict(seed: int, sizes: list[int], similarity: float) -> None:
    rng = random.Random(seed)
    families = [passage(rng, 30) for _ in range(5)]
    texts = [" ".join(edited(rng, rng.choice(families), rng.randrange(12))) for _ in range(sum(sizes))]
    in_pieces = Deduplicator(similarity)
    verdicts, start = [], 0
    for size in sizes:
        verdicts += in_pieces.judge(texts[start : start + size])
        start += size
    assert verdicts == Deduplicator(similarity).judge(texts)
    assert verdicts[: sizes[0]] == Deduplicator(similarity).judge(texts[: sizes[0]])


def test_signatures_do_not_depend_on_the_neighbours() -> None:
    rng = random.Random(5)
    texts = ["", "a", "ab cd", *(" ".join(passage(rng, n)) for n in (3, 20_000, 50, 1))]
    together = signatures_of(texts)
    assert together.shape == (len(texts), PERMUTATIONS) and together.dtype == np.uint32
    for row, text in zip(together, texts, strict=True):
        assert np.array_equal(row, signatures_of([text])[0])


@pytest.mark.parametrize("similarity", [0.05, 0.3, 0.5, 0.8, 0.9, 1.0])
def test_bands_find_pairs_at_the_threshold(similarity: float) -> None:
    rows = band_rows(similarity)
    assert 1 - (1 - similarity**rows) ** (PERMUTATIONS // rows) >= 0.99


def test_no_texts_give_no_verdicts() -> None:
    assert Deduplicator(0.8).judge([]) == []


def test_each_of_thousands_of_passages_is_compared_with_what_comes_later() -> None:
    rng = random.Random(5)
    texts = [" ".join(passage(rng, 20)) for _ in range(2_500)]
    deduplicator = Deduplicator(0.8)
    assert set(deduplicator.judge(texts)) == {"new"}
    copies = [f"{texts[number]}." for number in (0, 1, 1_023, 1_024, 2_048, 2_499)]
    assert deduplicator.judge(copies) == ["near_duplicate"] * len(copies)
