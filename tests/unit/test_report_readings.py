"""A sentence on the page stands in the pieces that the tokenizers make of it."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from langtailor.report.readings import readings, shown_sentences
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest

WORDS = {"[UNK]": 0, "ev": 1, "##ler": 2, "##de": 3, "evler": 4}


def write_tokenizer(folder, vocabulary):
    """A WordPiece tokenizer of these tokens."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_corpus(path, texts, split="test"):
    columns = {"id": list(map(str, range(len(texts)))), "lang": ["tr"] * len(texts), "text": texts}
    rows = pa.table({**columns, "split": [split] * len(texts), "pair": [None] * len(texts)}, schema=tables.CORPUS)
    tables.write_table(path, rows, Manifest("corpus"))


def write_vocabulary(path, teacher_ids):
    count = len(teacher_ids)
    rows = {
        "token": [f"t{i}" for i in range(count)],
        "new_id": range(count),
        "teacher_id": teacher_ids,
        "count": [1] * count,
        "origin": ["corpus"] * count,
        "reason": [""] * count,
        "merge": [None] * count,
        "score": [None] * count,
    }
    tables.write_table(path, pa.table(rows, schema=tables.VOCABULARY), Manifest("vocabulary"))


@pytest.fixture
def root(tmp_path):
    write_tokenizer(tmp_path / "teacher" / "model", {token: WORDS[token] for token in ("[UNK]", "ev", "##ler", "##de")})
    write_tokenizer(tmp_path / "tokenizer" / "small", {"[UNK]": 0, "ev": 1, "##de": 2, "evler": 3})
    write_vocabulary(tmp_path / "vocabulary" / "small.parquet", [0, 1, 3, None])
    write_corpus(tmp_path / "corpus" / "tr.parquet", ["evlerde ev göl, evde ev evler"])
    return tmp_path


def pieces(reading):
    return [(piece.before, piece.text, piece.tokens, piece.kind) for piece in reading.pieces]


def test_pieces_show_which_tokens_are_gone_and_which_are_new(root):
    write_corpus(root / "corpus" / "tr.parquet", ["evlerde ev göl"])
    (group,) = readings(root, ["tr"], ["tr"], {"small": "small"}, ("teacher", root / "teacher" / "model"))
    teacher, student = group.languages[0].examples[0].readings
    assert (teacher.model, teacher.count, student.model, student.count) == ("teacher", 5, "student", 4)
    assert pieces(teacher) == [
        ("", "ev", "ev", ""),
        ("", "ler", "##ler", "gone"),
        ("", "de", "##de", ""),
        (" ", "ev", "ev", ""),
        (" ", "göl", "[UNK]", "unknown"),
    ]
    assert pieces(student) == [
        ("", "evler", "evler", "new"),
        ("", "de", "##de", ""),
        (" ", "ev", "ev", ""),
        (" ", "göl", "[UNK]", "unknown"),
    ]


def test_pieces_give_the_sentence_back(root):
    (group,) = readings(root, ["tr"], [], {"small": "small"}, ("teacher", root / "teacher" / "model"))
    example = group.languages[0].examples[0]
    for reading in example.readings:
        assert "".join(piece.before + piece.text for piece in reading.pieces) == example.text


def test_bytes_of_one_character_are_one_piece(root):
    alphabet = {token: index for index, token in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.save(str(root / "teacher" / "model" / "tokenizer.json"))
    write_corpus(root / "corpus" / "tr.parquet", ["çağ"])
    (group,) = readings(root, ["tr"], [], {"small": "small"}, ("teacher", root / "teacher" / "model"))
    teacher = group.languages[0].examples[0].readings[0]
    assert teacher.count == 5
    assert [piece.text for piece in teacher.pieces] == ["ç", "a", "ğ"]


def test_variants_with_the_same_tokenizer_share_a_line(root):
    for name, ids in (("alike", [0, 1, 3, None]), ("other", [0, 1, 2, 3])):
        write_vocabulary(root / "vocabulary" / f"{name}.parquet", ids)
    shutil.copytree(root / "tokenizer" / "small", root / "tokenizer" / "alike")
    shutil.copytree(root / "teacher" / "model", root / "tokenizer" / "other")
    (group,) = readings(
        root,
        ["tr"],
        [],
        {"alike": "alike", "other": "other", "small": "small"},
        ("teacher", root / "teacher" / "model"),
    )
    assert [reading.model for reading in group.languages[0].examples[0].readings] == [
        "teacher",
        "alike, small",
        "other",
    ]
    kinds = {piece.kind for piece in group.languages[0].examples[0].readings[0].pieces}
    assert "gone" not in kinds, "a token is gone where no variant has it"


def test_target_languages_come_first(root):
    for lang in ("ar", "de", "zh"):
        shutil.copy(root / "corpus" / "tr.parquet", root / "corpus" / f"{lang}.parquet")
    (group,) = readings(
        root, ["ar", "de", "tr", "zh"], ["zh", "tr"], {"small": "small"}, ("teacher", root / "teacher" / "model")
    )
    assert [language.lang for language in group.languages] == ["tr", "zh", "ar", "de"]


def test_a_language_without_test_passages_is_left_out(root):
    write_corpus(root / "corpus" / "tr.parquet", ["evlerde ev göl"], split="train")
    assert readings(root, ["tr"], ["tr"], {"small": "small"}, ("teacher", root / "teacher" / "model")) == []


def test_short_passages_are_shown_whole_and_of_long_ones_the_beginning(tmp_path):
    long, short = "uzun " * 100, "Kısa ama tam bir cümle."
    write_corpus(tmp_path / "tr.parquet", [long, "x", short])
    assert shown_sentences(tmp_path / "tr.parquet", 1) == [short]
    shown = shown_sentences(tmp_path / "tr.parquet", 2)
    assert shown[1] == ("uzun " * 28).strip()
    write_corpus(tmp_path / "tr.parquet", ["長" * 500])
    assert shown_sentences(tmp_path / "tr.parquet", 1) == ["長" * 140]
    assert json.dumps(shown), "plain text"
