"""What becomes of the budget when grafts leave some of it, or when a token's own parts may not be kept."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from langtailor.config.vocabulary import GraftSettings, VocabularySettings
from langtailor.surgery.bpe import BytePairFamily
from langtailor.surgery.registry import load_family
from langtailor.vocabulary.selector import Selector
from langtailor.vocabulary.statistics import CorpusStatistics
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher
from tests.unit.surgery_teachers import TARGET, TEXTS

TEACHERS = {"WordPiece": make_tiny_bert_teacher, "BPE": make_tiny_gemma_teacher, "Unigram": make_tiny_xlmr_teacher}

#: Uses under which a token is no graft: with so many the text has fewer grafts than a budget may offer.
LEAST = 30


@pytest.fixture(scope="module", params=list(TEACHERS))
def family(request, tmp_path_factory):
    return load_family(TEACHERS[request.param](tmp_path_factory.mktemp(request.param) / "teacher"))


def make_demand(family, texts=(*TEXTS, *TARGET)):
    """What one language with these texts asks for; every token is used, those with low ids more."""
    rows = len(family.tokens)
    uses = {"tr": np.arange(rows, 0, -1, dtype=np.int64)}
    return CorpusStatistics(uses, {"tr": 1.0}, Counter(family.words(texts)), rows, family.alphabet_ids())


def select(family, share, size, **settings):
    demand = make_demand(family)
    chosen = VocabularySettings(size=size, graft=GraftSettings(share=share, min_count=LEAST), min_count=1, **settings)
    return Selector(family, demand, chosen, None).select(share)


def mandatory(family):
    settings = VocabularySettings(size=10_000)
    return len(Selector(family, make_demand(family), settings, None).mandatory_ids)


def test_budget_that_the_grafts_leave_goes_back_to_the_teachers_tokens(family):
    size = mandatory(family) + 100
    found = select(family, 90 / size, size)
    assert 0 < len(found.grafts) < 90, "the text has fewer grafts than were offered"
    assert len(found) == size


def test_grafts_are_proposed_for_what_is_kept_in_the_end(family):
    size = mandatory(family) + 100
    found = select(family, 90 / size, size)
    words = make_demand(family).words
    again = family.propose_grafts(found.ids, words, len(found.grafts), LEAST, None)
    assert [graft.token for graft in found.grafts] == [graft.token for graft in again]


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
    chosen = VocabularySettings(size=size, coverage=0.0, **settings)
    uses = np.ones(len(family.tokens), np.int64)
    uses[[family.tokens.index(token) for token in ("ab", "cd", "abcd")]] = 0, 0, 100
    demand = CorpusStatistics({"tr": uses}, {"tr": 1.0}, {}, len(family.tokens), family.alphabet_ids())
    kept = Selector(family, demand, chosen, None).select(0.0).kept
    return {family.tokens[i]: found.origin for i, found in kept.items()}


def test_a_token_brings_what_it_is_made_of(chain):
    alphabet = dict.fromkeys("abcdef", "alphabet")
    assert kept_of(chain, 9) == alphabet | {"ab": "closure", "cd": "closure", "abcd": "corpus"}


def test_a_token_made_of_one_that_the_pattern_forbids_stays_out_however_much_it_is_used(chain):
    expected = dict.fromkeys("abcdef", "alphabet") | dict.fromkeys(["ef", "efa"], "corpus")
    assert kept_of(chain, 9, drop_pattern="^cd$") == expected
    assert kept_of(chain, 11, drop_pattern="^cd$") == expected
