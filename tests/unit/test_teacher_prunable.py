"""A teacher of which no part can be taken is refused by the first job; one that only gives vectors is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import LangtailorError
from langtailor.teacher.fetch import fetch_teacher
from tests.models import (
    HIDDEN,
    make_tiny_bert_teacher,
    make_tiny_model,
    make_tiny_qwen3_teacher,
    make_tiny_xlmr_teacher,
)
from tests.unit.surgery_teachers import write_wordpiece


def edit_model(folder: Path, **options: Any) -> Path:
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    spec["model"] |= options
    (folder / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return folder


def doubles(folder: Path) -> Path:
    return edit_weights(make_tiny_bert_teacher(folder), lambda tensors: {k: t.double() for k, t in tensors.items()})


def as_many_positions_as_tokens(folder: Path) -> Path:
    rows = len((write_wordpiece(folder) / "vocab.txt").read_text(encoding="utf-8").splitlines())
    return make_tiny_model(folder, "Bert", max_position_embeddings=rows)


def two_tables(folder: Path) -> Path:
    spec = json.loads((make_tiny_xlmr_teacher(folder) / "tokenizer.json").read_text(encoding="utf-8"))
    shape = {"d_model": HIDDEN, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "pad_token_id": 1}
    T5EncoderModel(T5Config(vocab_size=len(spec["model"]["vocab"]), **shape)).save_pretrained(folder)
    table = "encoder.embed_tokens.weight"
    return edit_weights(folder, lambda tensors: {**tensors, table: tensors["shared.weight"].clone()})


CASES = {
    "suffix": (lambda folder: edit_model(make_tiny_qwen3_teacher(folder), end_of_word_suffix="</w>"), "of_word_suffix"),
    "dropout": (lambda folder: edit_model(make_tiny_qwen3_teacher(folder), dropout=0.1), "BPE with `dropout`"),
    "no unknown token": (lambda folder: edit_model(make_tiny_xlmr_teacher(folder), unk_id=None), "`unk_id` None"),
    "a table of another name": (
        lambda folder: make_tiny_model(write_wordpiece(folder), "XLM", emb_dim=32, n_heads=2, n_layers=2),
        "expected one tensor of input embeddings",
    ),
    "doubles": (doubles, "is stored as F64"),
    "positions": (as_many_positions_as_tokens, "tensor embeddings.position_embeddings.weight has a row per token"),
    "two tables": (two_tables, "found ['encoder.embed_tokens.weight', 'shared.weight']"),
}


@pytest.mark.parametrize(("make", "said"), CASES.values(), ids=CASES)
def test_a_teacher_that_cannot_be_pruned_is_refused(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    model = make(tmp_path / "model")
    with pytest.raises(LangtailorError) as caught:
        fetch_teacher(TeacherSettings(model=str(model)), tmp_path / "teacher")
    message = str(caught.value)
    assert said in message and repr(str(model)) in message and ".part" not in message


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"dropout"}))  # of which the vectors would be random
def test_a_teacher_that_only_gives_vectors_may_be_of_any_kind(tmp_path: Path, name: str) -> None:
    model = CASES[name][0](tmp_path / "model")
    fetch_teacher(TeacherSettings(model=str(model)), tmp_path / "teacher", pruned=False)
    assert (tmp_path / "teacher" / "manifest.json").is_file()
