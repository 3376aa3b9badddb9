"""Scores of new pieces on the teacher's scale, on a vocabulary so small that every number can be checked by hand."""

from __future__ import annotations

import json
from math import log

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from langtailor.surgery.unigram import UnigramFamily


def unigram(pieces):
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *pieces], 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return json.loads(tokenizer.to_str())


@pytest.fixture(scope="module")
def family():
    pieces = [("▁", -12.0), ("a", -9.0), ("▁a", -3.0), ("b", -4.0), ("c", -5.0)]
    return UnigramFamily.from_spec(unigram(pieces), {})


DONOR = unigram([("▁", -9.0), ("▁a", -2.0), ("b", -3.0), ("c", -3.0), ("▁abc", -1.0)])
#: The donor uses ``▁abc`` 8 times, ``▁a`` 8, ``b`` 3 and ``c`` once: 20 uses in all.
WORDS = {"▁abc": 8, "▁a": 4, "▁ab": 3, "▁ac": 1}


def propose(family, words=WORDS, **options):
    kept = np.arange(len(family.tokens), dtype=np.int32)
    limit, min_count = options.get("limit", 5), options.get("min_count", 1)
    return family.propose_grafts(kept, words, limit, min_count, DONOR)


def test_a_new_piece_is_shifted_by_the_lowest_tenth_of_what_the_common_pieces_gain(family):
    """Gains, teacher's score minus logarithm of the frequency: ▁a -3 - log 0.4, b -4 - log 0.15, c -5 - log 0.05.

    A tenth of the way through three sorted numbers is a fifth of the way from the first to the second.
    """
    lowest, second = -4 - log(3 / 20), -3 - log(8 / 20)
    assert lowest < second < -5 - log(1 / 20)
    (graft,) = propose(family)
    assert (graft.token, graft.count) == ("▁abc", 8)
    assert graft.score == pytest.approx(log(8 / 20) + lowest + (second - lowest) / 5, abs=1e-6)


def test_a_new_piece_is_never_scored_below_the_teachers_lowest(family):
    words = {"▁abc": 1, "▁a": 10**6, "▁ab": 10**6, "▁ac": 10**6}
    (graft,) = propose(family, words)
    assert graft.score == -12.0


def test_a_piece_that_is_used_too_little_is_no_graft(family):
    assert [graft.token for graft in propose(family, min_count=8)] == ["▁abc"]
    assert propose(family, min_count=9) == []
