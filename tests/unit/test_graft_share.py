"""The share for new tokens is chosen by the tokens that are really spent, and forgotten text is not free."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from langtailor.storage.artifacts import Manifest
from langtailor.storage.tables import CORPUS, write_table
from langtailor.surgery.base import Graft
from langtailor.surgery.wordpiece import WordPieceFamily
from langtailor.vocabulary.marginal_share import choose_share
from langtailor.vocabulary.selection import Kept, Selection

VOCABULARY = ("[UNK]", "a", "b", "c", "##a", "##b", "##c", "ab")


@pytest.fixture(scope="module")
def family():
    """WordPiece of the letters a, b and c, and ``ab``."""
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return WordPieceFamily.from_spec(json.loads(tokenizer.to_str()), {})


@pytest.fixture
def corpora(tmp_path):
    @cache
    def corpus(lang, *texts):
        splits = ["validation"] * len(texts)
        rows = [[f"{i}#0" for i in range(len(texts))], [lang] * len(texts), list(texts), splits]
        facts = {"passages": {"train": 0, "validation": len(texts), "test": 0}}
        path = tmp_path / f"{lang}.parquet"
        write_table(
            path, pa.table([*rows, pa.nulls(len(texts), pa.string())], schema=CORPUS), Manifest("corpus", facts=facts)
        )
        return path

    return corpus


def selection(share, without=(), grafts=()):
    kept = {i: Kept(i, "corpus", "") for i, token in enumerate(VOCABULARY) if token not in without}
    return Selection(kept, tuple(Graft(token, 1) for token in grafts), share)


def test_text_that_becomes_unknown_counts_a_token_a_character(family, corpora):
    """``acb acb a``: a c b a c b a by the teacher. Without ##c it is [UNK] [UNK] a: three tokens, but seven characters."""

    def select(share):
        return selection(share, without=["##c"] if share else [])

    chosen, curve = choose_share(family, select, {"tr": corpora("tr", "acb acb a")}, {"tr": 1.0}, 0.25)
    assert {point["objective"] for point in curve} == {1.0}
    assert chosen.share == 0.0, "it is not cheaper to forget"


def test_a_forgotten_word_is_dearer_than_the_token_that_wrote_it(family, corpora):
    """``ab ab c``: three tokens. Without c the last word becomes [UNK], without ``ab`` the first two cost two each."""
    corpus = {"tr": corpora("tr", "ab ab c")}
    _, forgets = choose_share(family, lambda share: selection(share, ["c"]), corpus, {"tr": 1.0}, 0.25)
    _, spells = choose_share(family, lambda share: selection(share, ["ab"]), corpus, {"tr": 1.0}, 0.25)
    assert forgets[0]["objective"] == 1.0
    assert spells[0]["objective"] == round(5 / 3, 6)


def test_every_language_counts_by_its_weight(family, corpora):
    """``abc`` as one token saves half of Turkish; ``ab`` gone for it costs German half as much again."""
    corpus = {"de": corpora("de", "ab ab"), "tr": corpora("tr", "abc abc")}

    def select(share):
        return selection(share, ["ab"], ["abc"]) if share else selection(share)

    def objective(**weights):
        chosen, curve = choose_share(family, select, corpus, weights, 0.25)
        return chosen.share > 0, {point["share"]: point["objective"] for point in curve}[0.1]

    # German: 4 tokens for 2. Turkish: 2 for 4.
    assert objective(de=1.0, tr=1.0) == (False, 1.25)
    assert objective(de=1.0, tr=3.0) == (True, 0.875)
    assert objective(de=3.0, tr=1.0) == (False, 1.625)


def test_tokens_a_word_are_those_of_the_validation_text(family, corpora):
    _, curve = choose_share(family, selection, {"tr": corpora("tr", "ab acb", "c")}, {"tr": 1.0}, 0.25)
    assert curve[0] == {"share": 0.0, "grafts": 0, "objective": 1.0, "fertility": {"tr": round(5 / 3, 6)}}


def test_the_middles_beside_the_best_share_are_tried_next(family, corpora):
    """Of equal shares the smallest is the best, so its only neighbour is on the right."""
    _, curve = choose_share(family, selection, {"tr": corpora("tr", "ab")}, {"tr": 1.0}, 0.25)
    assert [point["share"] for point in curve] == [0.0, 0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5]
    assert np.diff([point["share"] for point in curve]).min() > 0
