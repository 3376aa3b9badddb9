"""What becomes of the budget when grafts leave some of it, or when a token's own parts may not be kept."""

from __future__ import annotations

import json
import logging
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from langtailor.config.vocabulary import GraftSettings, VocabularySettings
from langtailor.surgery.bpe import BytePairFamily
from langtailor.surgery.registry import load_family
from langtailor.vocabulary.alphabet import KeptAlphabet
from langtailor.vocabulary.selector import Selector
from langtailor.vocabulary.statistics import CorpusStatistics
from tests.unit.surgery_teachers import FAMILIES, TARGET, TEXTS


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request, tmp_path_factory):
    return load_family(FAMILIES[request.param](tmp_path_factory.mktemp("teacher") / "teacher"))


def statistics_of(family, texts=(*TEXTS, *TARGET)):
    """Statistics of one language with these texts; every token occurs, those with low ids more often."""
    rows = len(family.tokens)
    counts = {"tr": np.arange(rows, 0, -1, dtype=np.int64)}
    return CorpusStatistics(
        counts, {"tr": 1.0}, Counter(family.words(texts)), rows, KeptAlphabet(family.alphabet_ids())
    )


def selector_of(family, size, share=0.0, min_count=2, **changed):
    graft = GraftSettings(share=share, min_count=min_count)
    return Selector(family, statistics_of(family), VocabularySettings(size=size, graft=graft, **changed), None)


def proposed(family, selection, limit, min_count):
    """The grafts that there are beside what a selection keeps."""
    return family.propose_grafts(selection.ids, statistics_of(family).words, limit, min_count, None)


@settings(max_examples=25, derandomize=True)
@given(data=st.data())
def test_the_table_is_full_and_holds_the_best_grafts_for_what_it_keeps(family, data):
    mandatory = len(selector_of(family, 10_000).mandatory_ids)
    usable = sum(token is not None for token in family.tokens) - len(family.placeholder_ids())
    size = data.draw(st.integers(mandatory + 2, usable), label="size")
    offered = data.draw(st.integers(1, size - mandatory - 1), label="offered")
    min_count = data.draw(st.integers(1, 60), label="min_count")
    found = selector_of(family, size, offered / size, min_count).select(offered / size)
    assert len(found) == size, "there are tokens enough for each row"
    assert len(found.grafts) <= offered
    best = proposed(family, found, offered, min_count)
    assert [graft.token for graft in found.grafts] == [graft.token for graft in best[: len(found.grafts)]]
    if len(found.grafts) < offered:
        emptier = selector_of(family, size).select(0.0)
        # Where more is kept there is about as much to graft or less, so that nothing shrinks to nothing.
        assert len(found.grafts) >= int(0.8 * min(len(proposed(family, emptier, offered, min_count)), offered))


def test_rows_that_the_grafts_leave_go_to_the_teachers_tokens(family):
    """Case 18: the same words give as many grafts however many more are offered than there are."""
    size = len(selector_of(family, 10_000).mandatory_ids) + 150
    few = selector_of(family, size, min_count=10).select(140 / size)
    assert 0 < len(few.grafts) < 140
    assert len(few) == size
    assert len(few.kept) == size - len(few.grafts)


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({"min_count": 3}, ["vocabulary.min_count (3)", "vocabulary.graft.share (0)"]),
        ({"min_count": 0, "drop_pattern": "a"}, ["vocabulary.drop_pattern", "vocabulary.graft.share (0)"]),
    ],
)
def test_a_table_with_empty_rows_is_told_with_what_would_fill_them(chain, caplog, changed, advice):
    chosen = VocabularySettings(size=11, **changed)
    counts = np.ones(len(chain.tokens), np.int64)
    statistics = CorpusStatistics(
        {"tr": counts}, {"tr": 1.0}, {}, len(chain.tokens), KeptAlphabet(chain.alphabet_ids())
    )
    selector = Selector(chain, statistics, chosen, None)
    with caplog.at_level(logging.WARNING):
        selector.check_filled(selector.select(0.0))
    message = caplog.records[-1].getMessage()
    assert "of the 11 rows of vocabulary.size are filled" in message
    assert all(part in message for part in advice)
    assert ("vocabulary.min_count" in message) == bool(changed["min_count"])


def test_the_advice_names_what_bounds_the_grafts(family):
    size = len(selector_of(family, 10_000).mandatory_ids) + 50
    selector = selector_of(family, size, 20 / size, min_count=10**6)
    selection = selector.select(20 / size)
    assert selection.grafts == ()
    assert "lower vocabulary.graft.min_count (1000000)" in selector._ways_to_fill(selection)


# --- what `drop_pattern` forbids


@pytest.fixture(scope="module")
def chain():
    """Byte-level BPE whose ``abcd`` is made of ``ab`` and ``cd``, and ``ef`` and ``efa`` of letters."""
    vocab = {token: i for i, token in enumerate([*"abcdef", "ab", "cd", "abcd", "ef", "efa"])}
    merges = [("a", "b"), ("c", "d"), ("ab", "cd"), ("e", "f"), ("ef", "a")]
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return BytePairFamily.from_spec(json.loads(tokenizer.to_str()), {})


def kept_of(family, size, **settings):
    chosen = VocabularySettings(size=size, coverage=0.0, min_count=1, **settings)
    uses = np.ones(len(family.tokens), np.int64)
    uses[[family.tokens.index(token) for token in ("ab", "cd", "abcd")]] = 0, 0, 100
    demand = CorpusStatistics({"tr": uses}, {"tr": 1.0}, {}, len(family.tokens), KeptAlphabet(family.alphabet_ids()))
    kept = Selector(family, demand, chosen, None).select(0.0).kept
    return {family.tokens[i]: found.origin for i, found in kept.items()}


def test_a_token_brings_what_it_is_made_of(chain):
    alphabet = dict.fromkeys("abcdef", "alphabet")
    assert kept_of(chain, 9) == alphabet | {"ab": "closure", "cd": "closure", "abcd": "corpus"}


def test_a_token_made_of_one_that_the_pattern_forbids_stays_out_however_much_it_is_used(chain):
    expected = dict.fromkeys("abcdef", "alphabet") | dict.fromkeys(["ef", "efa"], "corpus")
    assert kept_of(chain, 9, drop_pattern="^cd$") == expected
    assert kept_of(chain, 11, drop_pattern="^cd$") == expected
