"""A teacher whose vectors could not be trusted is refused at the first job, in one sentence that names the reason."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import DistilBertConfig, DistilBertModel, PreTrainedModel, T5Config, T5EncoderModel, T5Model

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError
from langtailor.models.folder import ModelInfo
from langtailor.storage.artifacts import read_manifest
from langtailor.teacher.fetch import fetch_teacher, local_files
from tests.models import HIDDEN, MAX_LENGTH, make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher

Tensors = dict[str, torch.Tensor]
LAYER = "encoder.layer.1.output.dense.weight"


def settings(model: Path | str, **others: Any) -> TeacherSettings:
    return TeacherSettings(model=str(model), **others)


def refusal(folder: Path, **others: Any) -> str:
    """The message with which a folder is refused: one line, with nothing left of the folder."""
    out = folder.parent / "out"
    with pytest.raises(ConfigError) as caught:
        fetch_teacher(settings(folder, **others), out)
    assert not out.exists()
    message = str(caught.value)
    assert "\n" not in message and repr(str(folder)) in message
    return message


def fetched(folder: Path, **others: Any) -> ModelInfo:
    """What an accepted teacher says of itself, which the loaded model confirms."""
    out = folder.parent / "out"
    fetch_teacher(settings(folder, **others), out)
    info = ModelInfo.read(out)
    model = SentenceTransformer(str(out), device="cpu", local_files_only=True, **others)
    assert info.dimension == model.encode(["deniz"]).shape[1] == read_manifest(out, "teacher").facts["dimension"]
    return info


def edit(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**content, **values}), encoding="utf-8")


def edit_weights(file: Path, change: Callable[[Tensors], Tensors | None]) -> None:
    tensors = load_file(file)
    save_file(change(tensors) or tensors, file, metadata={"format": "pt"})


def without(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name not in names}


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return make_tiny_bert_teacher(tmp_path / "bert")


@pytest.fixture
def gemma(tmp_path: Path) -> Path:
    return make_tiny_gemma_teacher(tmp_path / "gemma")


# -- tensors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        LAYER,
        "encoder.layer.0.attention.self.query.bias",
        # Initialised with ones, alike at each load.
        "encoder.layer.0.output.LayerNorm.weight",
        "embeddings.word_embeddings.weight",
    ],
)
def test_a_missing_tensor_is_named(bert: Path, name: str) -> None:
    edit_weights(bert / "model.safetensors", without(name))
    assert f"lacks {name}. Choose another teacher" in refusal(bert)


def test_a_missing_pooler_takes_part_in_no_vector(bert: Path) -> None:
    edit_weights(bert / "model.safetensors", without("pooler.dense.weight", "pooler.dense.bias"))
    assert fetched(bert).dimension == HIDDEN


def test_of_many_missing_tensors_the_first_are_named_with_those_that_are_there_instead(bert: Path) -> None:
    edit_weights(bert / "model.safetensors", lambda tensors: {f"other.{name}": t for name, t in tensors.items()})
    message = refusal(bert)
    assert "lacks embeddings.LayerNorm.bias, embeddings.LayerNorm.weight, " in message and " more; " in message
    assert "its files have other.embeddings.LayerNorm.bias, " in message


def test_a_prefix_that_the_library_knows_is_no_fault(bert: Path, tmp_path: Path) -> None:
    fetch_teacher(settings(bert), tmp_path / "plain")
    edit_weights(bert / "model.safetensors", lambda tensors: {f"bert.{name}": t for name, t in tensors.items()})
    fetch_teacher(settings(bert), tmp_path / "prefixed")
    plain, prefixed = (SentenceTransformer(str(tmp_path / name)).encode(["deniz"]) for name in ("plain", "prefixed"))
    np.testing.assert_array_equal(plain, prefixed)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(bert: Path) -> None:
    edit_weights(bert / "model.safetensors", lambda tensors: {**tensors, LAYER: tensors[LAYER][:10].clone()})
    assert f"has the tensor {LAYER} of shape (10, 64); its config.json requires (32, 64)" in refusal(bert)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(bert: Path, value: float) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[LAYER][3, 4] = value

    edit_weights(bert / "model.safetensors", spoil)
    assert f"has weights that are not finite: {LAYER}. " in refusal(bert)


def test_weights_of_later_modules_are_checked_too(gemma: Path) -> None:
    file = gemma / "3_Dense" / "model.safetensors"
    edit_weights(file, lambda tensors: {"linear.weight": tensors["linear.weight"] * float("nan")})
    assert "has weights that are not finite: Dense.linear.weight" in refusal(gemma)
    edit_weights(file, lambda tensors: {"linear.other": tensors["linear.weight"]})
    assert 'Missing key(s) in state_dict: "linear.weight"' in refusal(gemma)


def test_half_precision_is_accepted(bert: Path) -> None:
    edit_weights(bert / "model.safetensors", lambda tensors: {name: t.bfloat16() for name, t in tensors.items()})
    edit(bert / "config.json", dtype="bfloat16")
    fetched(bert)


# -- vectors -----------------------------------------------------------------------------------------------------------

OWN_CODE = """
import random

import torch
from transformers import BertConfig, BertModel

class OwnConfig(BertConfig):
    model_type = "own-bert"

class OwnModel(BertModel):
    config_class = OwnConfig

    def __init__(self, config, **options):
        super().__init__(config, **options)
        self.noise = [random.gauss(0, 1) for _ in range(config.hidden_size)]

    def forward(self, input_ids=None, attention_mask=None, **inputs):
        {body}
"""
READS_PADDING = "return super().forward(input_ids=input_ids, **inputs)"
SOUND = "return super().forward(input_ids=input_ids, attention_mask=attention_mask, **inputs)"
AT_RANDOM = f"""out = {SOUND.removeprefix("return ")}
        out.last_hidden_state = out.last_hidden_state + 5 * torch.tensor(self.noise)
        return out"""


def give_own_code(folder: Path, body: str) -> None:
    (folder / "own.py").write_text(OWN_CODE.replace("{body}", body), encoding="utf-8")
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    edit(folder / "config.json", model_type="own-bert", auto_map=auto_map, architectures=["OwnModel"])


def test_a_model_s_own_code_is_run_where_it_is_trusted(bert: Path) -> None:
    give_own_code(bert, SOUND)
    assert "config `teacher.trust_remote_code`" in refusal(bert)
    assert fetched(bert, trust_remote_code=True).dimension == HIDDEN


def test_a_model_that_reads_the_padding_is_refused(bert: Path) -> None:
    give_own_code(bert, READS_PADDING)
    assert "gives a text another vector in a batch with a longer one" in refusal(bert, trust_remote_code=True)


def test_a_model_that_is_made_at_random_is_refused(bert: Path) -> None:
    give_own_code(bert, AT_RANDOM)
    assert "gives different vectors at each load" in refusal(bert, trust_remote_code=True)


def test_vectors_that_overflow_are_refused(gemma: Path) -> None:
    huge = {"linear.weight": torch.full((HIDDEN, 2 * HIDDEN), 1e38)}
    edit_weights(gemma / "3_Dense" / "model.safetensors", lambda _: huge)
    assert "gives vectors that are not finite" in refusal(gemma)


def test_vectors_of_another_length_than_stated_are_refused(bert: Path) -> None:
    edit(bert / "1_Pooling" / "config.json", word_embedding_dimension=HIDDEN // 2)
    assert f"gives vectors of {HIDDEN} numbers, but its modules state {HIDDEN // 2}" in refusal(bert)


def test_vectors_that_are_shortened_when_they_are_done_are_refused_with_the_key(bert: Path) -> None:
    edit(bert / "config_sentence_transformers.json", truncate_dim=HIDDEN // 2)
    message = refusal(bert)
    assert f"config_sentence_transformers.json: truncate_dim {HIDDEN // 2}" in message
    assert "set `student.dimensions`" in message


def test_a_limit_of_dimensions_that_shortens_nothing_is_no_fault(bert: Path) -> None:
    edit(bert / "config_sentence_transformers.json", truncate_dim=HIDDEN)
    assert fetched(bert).dimension == HIDDEN


# -- tokenizers --------------------------------------------------------------------------------------------------------


def test_a_tokenizer_that_cannot_pad_is_refused(gemma: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = gemma / name
        if file.is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            content.pop("pad_token", None)
            file.write_text(json.dumps({**content, "tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8")
    assert "has a tokenizer without a padding token; name one as `pad_token`" in refusal(gemma)


def test_an_image_processor_that_a_text_model_names_is_told(gemma: Path) -> None:
    edit(gemma / "tokenizer_config.json", processor_class="Gemma3Processor")
    message = refusal(gemma)
    assert (
        "tokenizer_config.json names 'Gemma3Processor' as `processor_class`, which a text model does without" in message
    )


# -- widths ------------------------------------------------------------------------------------------------------------


def with_transformer(folder: Path, model: PreTrainedModel) -> Path:
    model.save_pretrained(folder)
    return folder


def distilbert(folder: Path) -> Path:
    """Names its width ``dim``."""
    rows = len((make_tiny_bert_teacher(folder) / "vocab.txt").read_text(encoding="utf-8").splitlines())
    shape = {"dim": HIDDEN, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "max_position_embeddings": MAX_LENGTH}
    return with_transformer(folder, DistilBertModel(DistilBertConfig(vocab_size=rows, **shape)))


def t5(folder: Path, whole: bool = False) -> Path:
    """Names its width ``d_model``; the library takes the encoder of a whole one."""
    spec = json.loads((make_tiny_xlmr_teacher(folder) / "tokenizer.json").read_text(encoding="utf-8"))
    shape = {"d_model": HIDDEN, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "pad_token_id": 1}
    config = T5Config(vocab_size=len(spec["model"]["vocab"]), decoder_start_token_id=1, **shape)
    return with_transformer(folder, (T5Model if whole else T5EncoderModel)(config))


@pytest.mark.parametrize(
    "make", [distilbert, t5, lambda folder: t5(folder, whole=True)], ids=["distilbert", "t5 encoder", "t5"]
)
def test_a_width_by_any_name_is_read_from_the_modules(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    info = fetched(make(tmp_path / "teacher"))
    assert (info.dimension, info.hidden_size, info.max_length) == (HIDDEN, HIDDEN, MAX_LENGTH)


@pytest.mark.parametrize(
    ("pooling", "dimension", "said"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, 2 * HIDDEN, "mean_tokens+max_tokens"),
        ({"pooling_mode": ["cls", "mean", "max"], "pooling_mode_mean_tokens": False}, 3 * HIDDEN, "cls+mean+max"),
        ({"pooling_mode_mean_tokens": False}, HIDDEN, "mean"),
        ({"pooling_mode": "lasttoken"}, HIDDEN, "lasttoken"),
    ],
)
def test_several_pooling_modes_join_their_vectors(
    bert: Path, pooling: dict[str, Any], dimension: int, said: str
) -> None:
    file = bert / "1_Pooling" / "config.json"
    modes = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}
    file.write_text(json.dumps({"word_embedding_dimension": HIDDEN, **modes, **pooling}), encoding="utf-8")
    info = fetched(bert)
    assert (info.dimension, info.hidden_size, info.pooling) == (dimension, HIDDEN, said)


# -- folders -----------------------------------------------------------------------------------------------------------


def adapter_of(folder: Path, base: str | None) -> Path:
    """An adapter as peft saves it: its own weights, and only the name of the model to which they belong."""
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "config.json").unlink()
    edit(folder / "adapter_config.json", base_model_name_or_path=base, peft_type="LORA", r=8)
    return folder


def test_an_adapter_names_its_base(bert: Path) -> None:
    message = refusal(adapter_of(bert, "owner/base"))
    assert "is an adapter of 'owner/base'; merge it first" in message and "merge_and_unload()" in message


@pytest.mark.skipif(importlib.util.find_spec("peft") is not None, reason="peft is installed")
def test_an_adapter_whose_base_is_here_needs_peft(bert: Path, tmp_path: Path) -> None:
    base = make_tiny_bert_teacher(tmp_path / "base")
    assert "peft, which could merge it here, is not installed" in refusal(adapter_of(bert, str(base)))


@pytest.mark.parametrize("base_is", ["folder", "package"])
def test_an_adapter_whose_base_is_here_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_is: str) -> None:
    peft = pytest.importorskip("peft")
    package = tmp_path / "tiny_base_package"
    base = make_tiny_bert_teacher(package / "model")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    model = SentenceTransformer(str(base), device="cpu")
    lora = peft.LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False)
    adapted = peft.get_peft_model(model[0].auto_model, lora)
    folder = make_tiny_bert_teacher(tmp_path / "adapter")
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
    adapted.save_pretrained(folder)
    name = str(base) if base_is == "folder" else "package:tiny_base_package/model"
    edit(folder / "adapter_config.json", base_model_name_or_path=name)
    expected = model.encode(["deniz"])  # the adapter's layers stand in the model's place
    fetched(folder)
    out = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(out.encode(["deniz"]), expected, atol=1e-5)
    assert not list((tmp_path / "out").glob("adapter_*"))


def test_a_folder_named_as_if_on_the_hub_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny_bert_teacher(tmp_path / "models" / "teacher")
    monkeypatch.chdir(tmp_path)
    for ask in (lambda asked: fetch_teacher(asked, tmp_path / "out"), local_files):
        with pytest.raises(ConfigError, match=r"models/teacher is a folder here: write \./models/teacher"):
            ask(settings("models/teacher"))
