"""Words of a file become tokens, whether or not the corpus has them."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from langtailor.config.vocabulary import GraftSettings, VocabularySettings
from langtailor.errors import SourceError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.registry import load_family
from langtailor.vocabulary.alphabet import KeptAlphabet
from langtailor.vocabulary.selector import Selector
from langtailor.vocabulary.statistics import CorpusStatistics
from langtailor.vocabulary.word_list import WordList
from tests.unit.surgery_teachers import FAMILIES, TARGET, write_wordpiece

WORDS = ["kardiyomiyopati", "elektroensefalografi", "Ankara", "iskele"]


def listed(folder: Path, text: str, family) -> WordList:
    (folder / "words.txt").write_text(text, encoding="utf-8")
    return WordList.read(folder / "words.txt", family)


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    return load_family(FAMILIES[request.param](tmp_path / "teacher"))


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_each_word_of_the_file_is_one_token_and_nothing_else_is_new_but_its_parts(family, tmp_path, share, caplog):
    words = listed(tmp_path, "\n".join(["", *WORDS, WORDS[0], " "]), family)
    rows = len(family.tokens)
    statistics = CorpusStatistics(
        {"tr": np.ones(rows, np.int64)},
        {"tr": 1.0},
        Counter(family.words(TARGET)),
        rows,
        KeptAlphabet(family.alphabet_ids()),
    )
    statistics = replace(statistics, words=words.added_to(statistics.words))
    size = rows - len(family.placeholder_ids()) + 20
    settings = VocabularySettings(size=size, graft=GraftSettings(share=share, tokens="words.txt"))
    selector = Selector(family, statistics, settings, words.donor())
    free = size - len(selector.mandatory_ids)
    selection = selector.select(share or min(words.most_rows, free) / size)
    spec = family.write(family.layout(selection.ids, selection.grafts, 0)).tokenizer
    new = tokenizer_of(spec)
    alone = new.encode("x", add_special_tokens=False).tokens
    for word in WORDS:
        pieces = new.encode(f"x {word}", add_special_tokens=False).tokens
        assert len(pieces) == len(alone) + 1, pieces
    targets = [graft.token for graft in selection.grafts if graft.origin == "target-language"]
    assert len(targets) <= len(WORDS)
    with caplog.at_level(logging.WARNING):
        words.tell_missing(spec)
    assert not caplog.records


def test_words_that_did_not_fit_are_told(family, tmp_path, caplog):
    words = listed(tmp_path, "\n".join(WORDS), family)
    with caplog.at_level(logging.WARNING):
        words.tell_missing(family.spec)
    assert "words of vocabulary.graft.tokens become no tokens, such as ['" in caplog.text


def test_entries_of_several_words_are_left_out_and_told(family, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        words = listed(tmp_path, "iki kelime\nAnkara\n", family)
    assert len(words.texts) == 1
    assert "1 entries into several words" in caplog.text


@pytest.mark.parametrize("text", ["", "\n \n", "iki kelime\n"])
def test_a_file_without_a_word_is_refused(tmp_path, text):
    family = load_family(write_wordpiece(tmp_path / "teacher"))
    with pytest.raises(SourceError, match=r"words\.txt: contains no word that can be a token"):
        listed(tmp_path, text, family)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    family = load_family(write_wordpiece(tmp_path / "teacher"))
    with pytest.raises(SourceError, match=r"none\.txt: cannot be read as words"):
        WordList.read(tmp_path / "none.txt", family)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SourceError, match=r"b\.txt: cannot be read as words"):
        WordList.read(tmp_path / "b.txt", family)
