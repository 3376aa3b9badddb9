"""What the library does to text before the tokenizer is part of the teacher (case 02)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from langtailor.config.teacher import TeacherSettings
from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.teacher.fetch import fetch_teacher
from tests.models import add_tiny_model, make_tiny_bert_teacher
from tests.unit.surgery_teachers import FAMILIES, write_wordpiece

CASED = FAMILIES | {"WordPiece": lambda folder: write_wordpiece(folder, lowercase=False)}
TEXTS = ["Eski VAPUR iskeleden ayrıldı.", "The Ferry LEAVES", "eski vapur"]


def edit(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, **values}), encoding="utf-8")


def fetched(original: Path) -> Path:
    out = original.parent / "out"
    fetch_teacher(TeacherSettings(model=str(original)), out)
    return out


def library_ids(folder: Path) -> list[list[int]]:
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    rows = (model.preprocess([text]) for text in TEXTS)
    return [row["input_ids"][0][row["attention_mask"][0].bool()].tolist() for row in rows]


def file_ids(folder: Path) -> list[list[int]]:
    return [encoding.ids for encoding in open_tokenizer(folder).encode_batch(TEXTS)]


@pytest.mark.parametrize("teacher", CASED)
def test_lower_casing_by_the_library_joins_tokenizer_json(teacher: str, tmp_path: Path) -> None:
    original = add_tiny_model(CASED[teacher](tmp_path / "original"))
    edit(original / "sentence_bert_config.json", do_lower_case=True)
    assert file_ids(original) != library_ids(original)
    out = fetched(original)
    assert file_ids(out) == library_ids(out) == library_ids(original)
    assert (original / "tokenizer.json").read_bytes() != (out / "tokenizer.json").read_bytes()


def test_a_tokenizer_that_the_library_builds_from_its_config_is_taken_as_it_builds_it(tmp_path: Path) -> None:
    original = add_tiny_model(write_wordpiece(tmp_path / "original", lowercase=False))
    edit(original / "tokenizer_config.json", do_lower_case=True, tokenizer_class="BertTokenizer")
    out = fetched(original)
    assert file_ids(out) == library_ids(out) == library_ids(original)


def test_a_tokenizer_that_the_library_reads_as_it_is_keeps_its_bytes(tmp_path: Path) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    assert (fetched(original) / "tokenizer.json").read_bytes() == (original / "tokenizer.json").read_bytes()
