"""A word that ends in a mark that joins what stands behind it is looked at together with that mark."""

from __future__ import annotations

import base64
import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from langtailor.counts.presplit import prove_presplit
from tests.unit.surgery_teachers import charsmap, sentencepiece_model

#: ARABIC NUMBER SIGN, which forms one grapheme with the letter behind it.
MARK = "\u0600"


@pytest.fixture
def cuts(tmp_path):
    """Of a BPE whose table writes a space for the mark, and with it for the whole grapheme."""
    rules = tmp_path / "rules.tsv"
    rules.write_text("600\t20\n", encoding="utf-8")
    table = charsmap(sentencepiece_model(size=300, normalization_rule_tsv=str(rules)))
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(["▁", "a", "x", "b"])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace()
    spec = json.loads(tokenizer.to_str())
    spec["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}
    return prove_presplit(spec, Tokenizer.from_str(json.dumps(spec)))


def test_a_letter_behind_a_joining_mark_is_not_looked_at_alone(cuts):
    assert cuts.holds, cuts.reason
    assert not cuts.is_context_dependent("xa")
    assert cuts.is_context_dependent(f"x{MARK}a"), "the whole grapheme becomes a space"
