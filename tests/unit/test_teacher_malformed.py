"""A folder with a malformed file is refused in one line that names the file, relative to the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError
from langtailor.teacher.fetch import fetch_teacher, local_files
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher

Change = Callable[[Any], Any]


def with_values(**values: Any) -> Change:
    return lambda content: {**content, **values}


def without(key: str) -> Change:
    return lambda content: {name: value for name, value in content.items() if name != key}


def each_without(key: str) -> Change:
    return lambda modules: [without(key)(module) for module in modules]


def moved_to(path: str) -> Change:
    return lambda modules: [*modules[:1], {**modules[1], "path": path}, *modules[2:]]


BERT, GEMMA, XLMR = make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher
CASES: dict[str, tuple[Callable[[Path], Path], str, Change, str]] = {
    "modules an object": (BERT, "modules.json", lambda modules: {"modules": modules}, "a list of modules is expected"),
    "a module a text": (BERT, "modules.json", lambda _: ["Transformer"], "without a text as `type`"),
    "no type": (BERT, "modules.json", each_without("type"), "without a text as `type`"),
    "no path": (BERT, "modules.json", each_without("path"), "without a text as `path`"),
    "a path outside": (BERT, "modules.json", moved_to("../1_Pooling"), "`path` leaves the folder"),
    "no width": (BERT, "1_Pooling/config.json", without("word_embedding_dimension"), "no `word_embedding_dimension`"),
    "modes of numbers": (BERT, "1_Pooling/config.json", with_values(pooling_mode=[1]), "as `pooling_mode`"),
    "no outputs": (GEMMA, "2_Dense/config.json", without("out_features"), "no `out_features`"),
    "vocabulary null": (BERT, "config.json", with_values(vocab_size=None), "None as `vocab_size`"),
    "text config a text": (BERT, "config.json", with_values(text_config="bert"), "'bert' as `text_config`"),
    "positions a text": (BERT, "config.json", with_values(max_position_embeddings="many"), "`max_position_embeddings`"),
    "padding null": (XLMR, "config.json", with_values(pad_token_id=None), "None as `pad_token_id`"),
    "a config a list": (BERT, "config.json", lambda _: [], "an object is expected"),
    "no length": (BERT, "sentence_bert_config.json", with_values(max_seq_length=0), "0 as `max_seq_length`"),
    "a length a list": (BERT, "sentence_bert_config.json", with_values(max_seq_length=[8]), "`max_seq_length`"),
    "transformer a list": (BERT, "sentence_bert_config.json", lambda _: [], "an object is expected"),
    "prompts a list": (BERT, "config_sentence_transformers.json", with_values(prompts=["query: "]), "as `prompts`"),
    "an unknown similarity": (
        BERT,
        "config_sentence_transformers.json",
        with_values(similarity_fn_name="near"),
        "similarity_fn_name 'near'",
    ),
    "tokenizer a list": (BERT, "tokenizer.json", lambda _: [], "cannot be read as a tokenizer"),
    "no model": (BERT, "tokenizer.json", without("model"), "cannot be read as a tokenizer"),
    "added null": (BERT, "tokenizer.json", with_values(added_tokens=None), "cannot be read as a tokenizer"),
}


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        fetch_teacher(TeacherSettings(model=str(folder)), folder.parent / "out")
    message = str(caught.value)
    assert message.startswith(f"config `teacher.model`: {str(folder)!r}")
    assert "\n" not in message and ".part" not in message and "--force" not in message
    return message


@pytest.mark.parametrize(("make", "file", "change", "said"), CASES.values(), ids=CASES)
def test_a_malformed_file_is_named(
    tmp_path: Path, make: Callable[[Path], Path], file: str, change: Change, said: str
) -> None:
    folder = make(tmp_path / "model")
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(change(content)), encoding="utf-8")
    message = refusal(folder)
    assert f": {file}" in message and said in message


@pytest.mark.parametrize("file", ["1_Pooling/config.json", "config.json"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    folder = make_tiny_bert_teacher(tmp_path / "model")
    (folder / file).unlink()
    assert f": {file} cannot be read as JSON" in refusal(folder)


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    file = make_tiny_bert_teacher(tmp_path / "model") / "tokenizer_config.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert ": tokenizer_config.json cannot be read as JSON (Unexpected UTF-8 BOM" in refusal(file.parent)


def test_what_the_library_says_names_no_temporary_folder(tmp_path: Path) -> None:
    folder = make_tiny_bert_teacher(tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "added_tokens_decoder": None}), "utf-8")
    assert "sentence-transformers cannot load it" in refusal(folder)


def test_a_malformed_list_of_modules_is_named_before_the_run(tmp_path: Path) -> None:
    folder = make_tiny_bert_teacher(tmp_path / "model")
    (folder / "modules.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"modules\.json holds a JSON dict"):
        local_files(TeacherSettings(model=str(folder)))
