"""The words of the target languages are those of all their passages, whatever way the text was read."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

from langtailor.counts.count import count_corpora
from langtailor.counts.words import WordReader
from langtailor.storage.artifacts import Manifest
from langtailor.storage.tables import CORPUS, write_table
from langtailor.surgery.registry import load_family
from langtailor.vocabulary.statistics import read_statistics
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher
from tests.unit.surgery_teachers import TARGET

TEACHERS = {"WordPiece": make_tiny_bert_teacher, "BPE": make_tiny_gemma_teacher, "Unigram": make_tiny_xlmr_teacher}
#: "ve" stands here 1, 2, 5 and 12 times: weights with several binary digits, some of them zero.
TEXTS = ("deniz ve köprü", *TARGET[:6], *["balık balık pencere"] * 5, *["yol okul yol"] * 6, "  iki  boşluk ")


@pytest.fixture(scope="module", params=list(TEACHERS))
def folder(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    TEACHERS[request.param](root / "teacher")
    splits = ["train"] * len(TEXTS) + ["validation"]
    rows = [[f"d{i}#0" for i in range(len(splits))], ["tr"] * len(splits), [*TEXTS, "yalnız burada"], splits]
    pairs = pa.nulls(len(splits), pa.string())
    facts = {"passages": {"train": len(TEXTS), "validation": 1, "test": 0}}
    write_table(root / "tr.parquet", pa.table([*rows, pairs], schema=CORPUS), Manifest("corpus", facts=facts))
    count_corpora({"tr": root / "tr.parquet"}, root / "teacher", {"tr": root / "counts.parquet"})
    return root


def statistics(folder):
    family = load_family(folder / "teacher")
    corpora, counts = {"tr": folder / "tr.parquet"}, {"tr": folder / "counts.parquet"}
    return family, read_statistics(family, folder / "teacher", counts, corpora, {"tr": 1.0}, ["tr"])


def test_every_word_counts_as_often_as_the_train_split_has_it(folder):
    family, found = statistics(folder)
    assert dict(found.words) == dict(family.words(TEXTS))


def test_a_word_that_is_used_ten_times_counts_ten(folder):
    """``balık`` stands ten times in the texts: 1010 in binary digits."""
    _, found = statistics(folder)
    uses = Counter()
    for piece, count in found.words.items():
        uses["balık"] += count * piece.lower().replace("▁", " ").count("balık")
    assert WordReader.open(folder / "teacher").presplit.holds
    assert uses["balık"] == sum(text.count("balık") for text in TEXTS) >= 10


def test_uses_are_those_of_the_train_split_alone(folder):
    family, found = statistics(folder)
    tokens = sum(count for _, count in family.words(["yalnız burada"]).items())
    assert tokens > 0
    assert not {"yalnız", "▁yalnız", "burada", "▁burada"} & set(found.words)
