"""What the library does to text before the tokenizer is part of the teacher (case 02)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langtailor.errors import ConfigError
from langtailor.models.tokenizer_file import open_tokenizer
from tests.models import add_tiny_model, make_tiny_bert_teacher
from tests.unit.fetched_teacher import fetched, load
from tests.unit.surgery_teachers import FAMILIES, write_unigram, write_wordpiece

CASED = FAMILIES | {"WordPiece": lambda folder: write_wordpiece(folder, lowercase=False)}
TEXTS = ["Eski VAPUR iskeleden ayrıldı.", "The Ferry LEAVES", "eski vapur"]


def edit(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, **values}), encoding="utf-8")


def library_ids(folder: Path) -> list[list[int]]:
    model = load(folder)
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


def edit_spec(folder: Path, **parts: Any) -> Path:
    edit(folder / "tokenizer.json", **parts)
    return folder


def test_special_tokens_around_a_text_are_those_that_the_library_adds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_wordpiece(tmp_path / "original")
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    spec["post_processor"]["single"] = spec["post_processor"]["single"][:-1]
    original = add_tiny_model(edit_spec(folder, **spec))
    assert file_ids(original) != library_ids(original), "BertTokenizer adds [SEP], whatever the file says"
    with caplog.at_level("INFO", logger="langtailor"):
        out = fetched(original)
    assert file_ids(out) == library_ids(out) == library_ids(original)
    assert "takes its post_processor from the loaded model" in caplog.text


def test_an_added_token_that_the_library_does_not_have_is_left_out(tmp_path: Path) -> None:
    folder = write_wordpiece(tmp_path / "original")
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    token = {**spec["added_tokens"][-1], "id": len(spec["model"]["vocab"]), "content": "Ferry", "special": False}
    original = add_tiny_model(edit_spec(folder, added_tokens=[*spec["added_tokens"], token]))
    assert file_ids(original) != library_ids(original)
    out = fetched(original)
    assert file_ids(out) == library_ids(out) == library_ids(original)


def longer_words_are_unknown(folder: Path) -> Path:
    spec = json.loads((write_wordpiece(folder) / "tokenizer.json").read_text(encoding="utf-8"))
    return edit_spec(folder, model={**spec["model"], "max_input_chars_per_word": 60})


def unigram_as_llama(folder: Path) -> Path:
    edit(write_unigram(folder) / "tokenizer_config.json", tokenizer_class="LlamaTokenizer", padding_side="right")
    return folder


@pytest.mark.parametrize(
    ("write", "builds"), [(longer_words_are_unknown, "BertTokenizer"), (unigram_as_llama, "LlamaTokenizer")]
)
def test_a_model_that_the_library_builds_otherwise_is_refused_with_its_class_and_a_text(
    tmp_path: Path, write: Any, builds: str
) -> None:
    original = add_tiny_model(write(tmp_path / "original"))
    with pytest.raises(ConfigError) as caught:
        fetched(original)
    message = str(caught.value)
    assert f"for tokenizer_config.json: tokenizer_class the library builds {builds}" in message
    assert "other tokens in '" in message and "Set tokenizer_class to PreTrainedTokenizerFast" in message
    edit(original / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    out = fetched(original)
    assert file_ids(out) == library_ids(out) == file_ids(original)
