"""Distinct words are given out and forgotten when they become too many; the counts stay those of the passages."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from langtailor.counts import count, words
from langtailor.counts.count import count_ids
from langtailor.counts.presplit import prove_presplit
from tests.unit.surgery_teachers import TARGET, TEXTS, byte_level_spec, wordpiece_spec

SPECS = {"WordPiece": wordpiece_spec, "byte-level BPE": byte_level_spec}


def bare(spec):
    tokenizer = Tokenizer.from_str(spec)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@pytest.mark.parametrize("make", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("held", [1, 5_000], ids=["each batch given out", "some batches given out"])
def test_words_that_were_given_out_are_not_counted_again(make, held, monkeypatch):
    monkeypatch.setattr(words, "_BYTES_AT_ONCE", 1)
    monkeypatch.setattr(words, "_MOST_WORD_BYTES", held)
    tokenizer, cuts = bare(make()), prove_presplit(json.loads(make()), bare(make()))
    assert cuts.holds
    texts = [*TEXTS, *TARGET, *TEXTS[:7]]
    stream = [pa.array(texts[at : at + 4]) for at in range(0, len(texts), 4)]
    found = count_ids(tokenizer, words.WeightedTexts(stream, cuts))
    expected = np.zeros_like(found)
    for text in texts:
        np.add.at(expected, tokenizer.encode(text, add_special_tokens=False).ids, 1)
    assert found.tolist() == expected.tolist()


class RecordingTokenizer:
    """A tokenizer that notes how many characters it was given at once."""

    def __init__(self, tokenizer):
        self._tokenizer, self.characters = tokenizer, []

    def get_vocab(self):
        return self._tokenizer.get_vocab()

    def encode_batch_fast(self, texts, **options):
        self.characters.append(sum(map(len, texts)))
        return self._tokenizer.encode_batch_fast(texts, **options)


def test_few_characters_are_tokenized_at_once_however_many_words_there_are(monkeypatch):
    monkeypatch.setattr(count, "_CHARACTERS_AT_ONCE", 100)
    tokenizer = RecordingTokenizer(bare(wordpiece_spec()))
    texts = [(text, 1) for text in [*TEXTS, *TARGET]]
    count_ids(tokenizer, texts)
    assert sum(tokenizer.characters) == sum(len(text) for text, _ in texts)
    assert max(tokenizer.characters) < 100 + max(len(text) for text, _ in texts)
