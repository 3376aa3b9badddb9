"""Of several copies of a teacher's weights the run takes the one that the library loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers import BertModel

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError
from langtailor.models.folder import ModelInfo, weight_files
from langtailor.models.vocabulary_tensors import find_vocabulary_tensors
from langtailor.teacher.fetch import local_files
from tests.models import HIDDEN, make_tiny_bert_teacher, make_tiny_gemma_teacher, write_dense
from tests.unit.fetched_teacher import fetched, load

TEXTS = ["Eski vapur her sabah boğazı geçer.", "Nobody remembers who planted the walnut tree."]


def weights(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors"))


def write_other_weights(original: Path, name: str) -> None:
    """A copy of the weights with other values."""
    tensors = {key: value.half() * 2 for key, value in load_file(original / "model.safetensors").items()}
    (original / name).parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, original / name, metadata={"format": "pt"})


def write_shards(original: Path) -> None:
    whole = (original / "model.safetensors").read_bytes()
    model = BertModel.from_pretrained(original)
    (original / "model.safetensors").unlink()
    model.save_pretrained(original, max_shard_size="40KB")
    (original / "whole").write_bytes(whole)


def whole_beside_shards(original: Path) -> None:
    write_shards(original)
    (original / "whole").rename(original / "model.safetensors")


def checkpoint(original: Path) -> None:
    write_other_weights(original, "checkpoint-500/model.safetensors")
    shutil.copy(original / "config.json", original / "checkpoint-500")


COPIES: dict[str, Callable[[Path], None]] = {
    **{
        name: lambda original, name=name: write_other_weights(original, name)  # type: ignore[misc]
        for name in ("model_fp16.safetensors", "consolidated.safetensors", "original/model.safetensors")
    },
    "checkpoint": checkpoint,
    "shards": whole_beside_shards,
    "unused dense": lambda original: write_dense(original / "2_Dense_256", HIDDEN, 16, seed=3),
}


@pytest.mark.parametrize("add", COPIES.values(), ids=COPIES)
def test_a_copy_of_the_weights_that_the_library_does_not_load_stays_behind(
    tmp_path: Path, add: Callable[[Path], None]
) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    add(original)
    teacher, model = fetched(original), load(original)
    assert weights(teacher) == ["model.safetensors"]
    assert not list(teacher.glob("*.index.json")) and not (teacher / "checkpoint-500").exists()
    assert ModelInfo.read(teacher).parameters == sum(parameter.numel() for parameter in model.parameters())
    assert find_vocabulary_tensors(teacher).embedding == "embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(load(teacher).encode(TEXTS), model.encode(TEXTS))
    assert original / "model.safetensors" in local_files(TeacherSettings(model=str(original)))


def test_shards_are_taken_where_there_is_no_whole_file(tmp_path: Path) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    write_shards(original)
    write_other_weights(make_tiny_bert_teacher(tmp_path / "other"), "model-extra.safetensors")
    shutil.copy(tmp_path / "other" / "model-extra.safetensors", original)
    teacher = fetched(original)
    index = json.loads((teacher / "model.safetensors.index.json").read_text(encoding="utf-8"))
    assert set(weights(teacher)) == set(index["weight_map"].values()) and len(weights(teacher)) > 1
    np.testing.assert_array_equal(load(teacher).encode(TEXTS), load(original).encode(TEXTS))


def test_the_weights_of_all_modules_count(tmp_path: Path) -> None:
    gemma = make_tiny_gemma_teacher(tmp_path / "gemma")
    save_file({}, gemma / "teacher_projection.safetensors")
    names = [path.relative_to(gemma).as_posix() for path in weight_files(gemma)]
    assert names == ["2_Dense/model.safetensors", "3_Dense/model.safetensors", "model.safetensors"]


def test_weights_of_another_name_alone_are_named(tmp_path: Path) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    (original / "model.safetensors").rename(original / "model.fp16.safetensors")
    with pytest.raises(ConfigError, match=r"the library loads, model\.safetensors; it has model\.fp16\.safetensors"):
        fetched(original)


def test_pickled_weights_of_a_checkpoint_are_left_behind(tmp_path: Path) -> None:
    original = make_tiny_bert_teacher(tmp_path / "original")
    (original / "checkpoint-500").mkdir()
    (original / "checkpoint-500" / "pytorch_model.bin").write_bytes(b"pickle")
    assert not list(fetched(original).rglob("*.bin"))
