"""Tokens that the counted text does not have: which come first where the budget has room."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from langtailor.config.vocabulary import VocabularySettings
from langtailor.surgery.registry import load_family
from langtailor.vocabulary.alphabet import KeptAlphabet
from langtailor.vocabulary.selector import Selector
from langtailor.vocabulary.statistics import CorpusStatistics
from langtailor.vocabulary.unseen_tokens import _features, _logistic_regression, expected_counts
from tests.unit.surgery_teachers import FAMILIES


def two_languages(tokens=2000, width=12, seed=3):
    """Rows of tokens of two languages in turn, and counts of text that has half of the tokens of each."""
    generator = np.random.default_rng(seed)
    language = np.arange(tokens) % 2
    rows = generator.normal(size=(tokens, width)) + language[:, None]
    # In rows of a model, directions that say nothing of languages vary most.
    rows *= np.r_[np.full(width - 4, 1), np.full(4, 30)]
    occurs = generator.random(tokens) < 0.5
    counts = {name: np.where(occurs & (language == number), 3, 0) for number, name in enumerate(("de", "tr"))}
    return rows.astype(np.float32), language, counts


def test_unseen_tokens_of_the_texts_language_come_before_those_of_others():
    table, language, counts = two_languages()
    expected = expected_counts(table, counts)
    for number, name in enumerate(counts):
        unseen = counts["de"] + counts["tr"] == 0
        ranked = np.argsort(-np.where(unseen, expected[name], -1))[: int(unseen.sum()) // 2]
        assert (language[ranked] == number).mean() > 0.9
        assert expected[name][language == number].mean() > 3 * expected[name][language != number].mean()


def test_as_many_tokens_are_expected_to_occur_as_do():
    table, _, counts = two_languages()
    for name, expected in expected_counts(table, counts).items():
        assert (1 - np.exp(-expected)).sum() == pytest.approx((counts[name] > 0).sum(), rel=0.02)


def test_the_regression_is_that_of_scikit_learn():
    table, _, counts = two_languages()
    features, occurs = _features(table), counts["tr"] > 0
    peer = LogisticRegression(C=0.1, tol=1e-8, max_iter=1_000).fit(features[:, :-1], occurs)
    expected = np.append(peer.coef_[0], peer.intercept_)
    np.testing.assert_allclose(_logistic_regression(features, occurs), expected, atol=2e-3)


def test_tokens_without_a_row_and_languages_without_text_are_not_expected():
    table, _, counts = two_languages()
    longer = {name: np.append(count, 0) for name, count in counts.items()} | {"fr": np.zeros(2001, np.int64)}
    expected = expected_counts(table, longer)
    assert [values[-1] for values in expected.values()] == [0, 0, 0]
    assert expected["fr"].max() < 0.2 * expected["tr"].max()


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return load_family(FAMILIES["Unigram"](tmp_path_factory.mktemp("teacher") / "teacher"))


def selector(family, size, expected):
    """One language, in whose text every third token occurs."""
    tokens = len(family.tokens)
    counts = {"tr": np.where(np.arange(tokens) % 3 == 0, 5, 0)}
    statistics = CorpusStatistics(counts, {"tr": 1.0}, {}, tokens, KeptAlphabet(family.alphabet_ids()))
    settings = VocabularySettings(size=size, min_count=0)
    return Selector(family, statistics, settings, None, expected=expected)


def test_the_likeliest_tokens_fill_the_budget(family):
    tokens = len(family.tokens)
    likely = np.random.default_rng(1).permutation(tokens).astype(np.float64)
    mandatory = set(selector(family, tokens, lambda counts: counts).mandatory_ids.tolist())
    needed = mandatory | set(range(0, tokens, 3))
    selection = selector(family, len(needed) + 40, lambda counts: {"tr": likely}).select(0.0)
    kept = set(selection.kept)
    fill = kept - needed
    left = {i for i in range(tokens) if family.tokens[i] is not None} - kept - set(family.placeholder_ids().tolist())
    assert len(fill) >= 40
    assert {selection.kept[i].origin for i in fill} == {"unseen"}
    assert "unseen" not in {selection.kept[i].origin for i in needed & kept}
    assert min(likely[list(fill)]) > max(likely[[i for i in left if i % 3]])


def test_they_are_not_looked_for_where_the_text_has_enough(family):
    def never(counts):
        raise AssertionError("the text has more tokens than the budget holds")

    few = len(selector(family, len(family.tokens) // 2, lambda counts: counts).mandatory_ids) + 5
    assert len(selector(family, few, never).select(0.0)) == few
