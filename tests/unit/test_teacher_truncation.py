"""Teacher, student and exports truncate a text where sentence-transformers truncates it, whichever file says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_teacher
from langtailor.storage.artifacts import read_manifest
from langtailor.student.limits import unify_limits
from tests.models import make_tiny_bert_teacher, make_tiny_xlmr_teacher
from tests.unit.fetched_teacher import fetched, load

LONG = " ".join(["one", "two", "three", "four", "five", "six", "seven"] * 60)
LEGACY = ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")


def write(file: Path, **content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def edit(file: Path, **values: Any) -> None:
    write(file, **{**json.loads(file.read_text(encoding="utf-8")), **values})


def read_ids(model: SentenceTransformer) -> list[int]:
    ids: list[int] = model.preprocess([LONG])["input_ids"][0].tolist()
    return ids


def assert_reads_alike(original: Path, teacher: Path, limit: int) -> None:
    """The run's teacher and a student made of it read as much of a text as the original does."""
    expected = read_ids(load(original))
    assert len(expected) == limit
    assert read_ids(load_teacher(teacher, TeacherSettings(model="./unused"), "cpu")) == expected
    assert read_manifest(teacher, "teacher").facts["max_length"] == ModelInfo.read(teacher).max_length == limit
    unify_limits(teacher, limit)
    assert read_ids(load(teacher)) == expected
    assert Tokenizer.from_file(str(teacher / "tokenizer.json")).encode(LONG).ids == expected


@pytest.mark.parametrize("kind", LEGACY)
def test_a_limit_in_a_file_of_an_earlier_name_is_taken(tmp_path: Path, kind: str) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    (original / "sentence_bert_config.json").unlink()
    write(original / f"sentence_{kind}_config.json", max_seq_length=32, do_lower_case=False)
    assert_reads_alike(original, fetched(original), 32)


@pytest.mark.parametrize("key", ["processor_kwargs", "tokenizer_args"])
@pytest.mark.parametrize("further", [{}, {"max_seq_length": 64}])
def test_a_limit_among_the_tokenizer_s_options_is_taken(tmp_path: Path, key: str, further: dict[str, int]) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    write(original / "sentence_bert_config.json", **{key: {"model_max_length": 32}, **further})
    teacher = fetched(original)
    assert_reads_alike(original, teacher, 32)
    edit(teacher / "sentence_bert_config.json", max_seq_length=16)
    assert len(read_ids(load(teacher))) == 16, "a student's limit is not overridden by the teacher's"


def test_a_limit_beyond_the_positions_is_that_of_the_positions(tmp_path: Path) -> None:
    original = make_tiny_xlmr_teacher(tmp_path / "original")
    write(original / "sentence_bert_config.json", processor_kwargs={"model_max_length": 500})
    assert ModelInfo.read(fetched(original)).max_length == 128


def test_options_that_override_the_limit_are_refused(tmp_path: Path) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    edit(original / "sentence_bert_config.json", processing_kwargs={"text": {"max_length": 32}})
    with pytest.raises(ConfigError, match=r"`processing_kwargs` in sentence_bert_config\.json"):
        fetched(original)


def test_the_side_of_truncation_is_the_library_s(tmp_path: Path) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    edit(original / "tokenizer_config.json", truncation_side="left")
    assert_reads_alike(original, fetched(original), 128)


def test_a_side_among_the_tokenizer_s_options_is_taken(tmp_path: Path) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    edit(original / "sentence_bert_config.json", processor_kwargs={"truncation_side": "left"})
    assert_reads_alike(original, fetched(original), 128)
