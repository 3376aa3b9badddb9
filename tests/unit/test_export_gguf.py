"""GGUF files: llama.cpp reads text and computes vectors as the student does; what it cannot hold is refused by name."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from tokenizers import Tokenizer

from langtailor.errors import ExportError
from langtailor.export.certificate import Cosines
from langtailor.export.format import find_format
from langtailor.export.gguf.client import LlamaClient
from langtailor.export.gguf.file import write_gguf
from langtailor.export.gguf.kinds import quantize, stored_as
from langtailor.export.scripts import texts_in_many_scripts
from langtailor.models.loading import load_sentence_transformer
from tests.models import (
    HIDDEN,
    MAX_LENGTH,
    make_tiny_bert_teacher,
    make_tiny_gemma_teacher,
    make_tiny_model,
    make_tiny_qwen3_teacher,
    write_dense,
)
from tests.unit.export_world import make_export, make_student, student_ids
from tests.unit.surgery_teachers import byte_level_spec, write_byte_level, write_wordpiece

LINEAR = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
TEXTS = texts_in_many_scripts()
FORMATS = {"gguf-f16": 0.999, "gguf-q8_0": 0.995, "gguf-q4_k_m": 0.95}


def change_json(file: Path, change: dict) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **change}), encoding="utf-8")


def export_f16(folder: Path) -> tuple[SentenceTransformer, LlamaClient]:
    """A folder's model, and llama.cpp with its export."""
    model = load_sentence_transformer(folder, "cpu")
    out = make_export(model, folder, "gguf-f16")
    return model, LlamaClient(out / "model-f16.gguf", out, threads=1)


def is_hangul(text: str) -> bool:
    return any("가" <= letter <= "힣" for letter in text)


@dataclass(frozen=True)
class Exported:
    """A tiny model, its kind, and its exports' folders and clients by format."""

    model: SentenceTransformer
    kind: str
    folders: dict[str, Path]
    clients: dict[str, LlamaClient]


@pytest.fixture(scope="module", params=["bert", "xlmr", "gemma", "qwen3"])
def exported(request, tmp_path_factory) -> Exported:
    model, student = make_student(tmp_path_factory.mktemp(request.param), request.param)
    folders = {name: make_export(model, student, name) for name in FORMATS}
    clients = {name: LlamaClient(out / find_format(name).file, out, threads=1) for name, out in folders.items()}
    return Exported(model, request.param, folders, clients)


@pytest.mark.parametrize(("name", "least"), FORMATS.items())
def test_ids_and_vectors_are_the_students(exported, name, least):
    # Of the letters into which BERT's normalizer takes a syllable of Hangul apart, llama.cpp keeps the first alone.
    texts = [text for text in TEXTS if exported.kind != "bert" or not is_hangul(text)]
    client = exported.clients[name]
    assert client.ids(texts) == student_ids(exported.model, texts)
    some = texts[::7]
    assert Cosines.between(client(some), exported.model.encode(some)).least > least


def test_a_wordpiece_does_not_read_hangul_as_the_student_does(exported):
    """What the certificate is for: one such text is enough to refuse the export."""
    texts = [text for text in TEXTS if is_hangul(text)]
    same = exported.clients["gguf-f16"].ids(texts) == student_ids(exported.model, texts)
    assert same == (exported.kind != "bert")


def test_added_tokens_are_read_whole(exported):
    texts = [
        "<table> deniz [multimodal]\n\nev<mask>",
        "<eos> ev <unused3>",
        "<|image_3|>ev <|end|>",
        "[MASK] ev",
        "<unk>",
    ]
    assert exported.clients["gguf-f16"].ids(texts) == student_ids(exported.model, texts)


def test_the_file_tells_kinds_of_tokens_apart(exported):
    field = gguf.GGUFReader(exported.folders["gguf-f16"] / "model-f16.gguf").fields["tokenizer.ggml.token_type"]
    kinds = {gguf.TokenType(kind).name for kind in field.contents()}
    expected = {
        "bert": {"NORMAL", "CONTROL", "UNKNOWN"},
        "xlmr": {"NORMAL", "CONTROL", "UNKNOWN"},
        "gemma": {"NORMAL", "CONTROL", "UNKNOWN", "USER_DEFINED", "BYTE"},
        "qwen3": {"NORMAL", "CONTROL"},
    }
    assert kinds == expected[exported.kind]


def test_vectors_are_scaled_as_the_student_scales_them(exported):
    vectors = exported.clients["gguf-f16"](["deniz mavi", "ev"])
    np.testing.assert_allclose(vectors, exported.model.encode(["deniz mavi", "ev"]), atol=2e-2)


def test_wide_matrices_have_four_bits_and_sensitive_ones_six(tmp_path):
    """A width that llama.cpp's blocks of 256 divide, which those of the other models here are not."""
    write_wordpiece(tmp_path / "student")
    student = make_tiny_model(
        tmp_path / "student", "Bert", hidden_size=256, intermediate_size=512, initializer_range=0.05
    )
    model, out = load_sentence_transformer(student, "cpu"), tmp_path / "model.gguf"
    assert write_gguf(student, model, "q4_k_m", out) == {"F32": 44, "Q4_K": 20, "Q6_K": 5}
    texts = [text for text in TEXTS if not is_hangul(text)][::7]
    client = LlamaClient(out, student, threads=1)
    assert Cosines.between(client(texts), model.encode(texts)).least > 0.95


@pytest.mark.parametrize(
    ("kind", "name", "width", "expected"),
    [
        ("q4_k_m", "token_embd.weight", 768, "Q6_K"),
        ("q4_k_m", "token_embd.weight", 384, "Q8_0"),
        ("q4_k_m", "blk.0.attn_v.weight", 768, "Q6_K"),
        ("q4_k_m", "blk.1.attn_v.weight", 768, "Q4_K"),
        ("q4_k_m", "blk.3.ffn_down.weight", 1536, "Q6_K"),
        ("q4_k_m", "blk.11.ffn_down.weight", 1536, "Q6_K"),
        ("q4_k_m", "blk.3.ffn_up.weight", 384, "Q5_0"),
        ("q4_k_m", "blk.3.ffn_up.weight", 312, "F16"),
        ("q8_0", "blk.3.ffn_up.weight", 312, "F16"),
        ("q4_k_m", "position_embd.weight", 768, "F32"),
    ],
)
def test_a_matrix_is_stored_as_llama_cpp_stores_it(kind, name, width, expected):
    assert stored_as(kind, name, np.zeros((2, width), np.float32), layers=12).name == expected


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K"])
def test_llama_cpps_own_blocks_are_read_by_the_package_gguf(kind):
    stored = gguf.GGMLQuantizationType[kind]
    values = np.random.default_rng(1).normal(size=(5, 512)).astype(np.float32)
    read = gguf.quants.dequantize(quantize(values, stored), stored)
    assert np.sqrt(np.square(read - values).mean()) < {"Q4_K": 0.08, "Q6_K": 0.02}[kind]


def vectors_by_the_card(folder: Path, texts: list[str], monkeypatch) -> np.ndarray:
    """What the Python lines of an export's card compute."""
    usage = find_format("gguf-q8_0").usage(folder, [])
    code = usage.split("```python\n")[1].split("```")[0].replace('["...", "..."]', repr(texts))
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(code, names)
    return np.array(names["vectors"], np.float32)


def test_the_cards_own_lines_give_the_students_vectors(exported, monkeypatch):
    texts = ["deniz mavi bir ev", "ev"]
    vectors = vectors_by_the_card(exported.folders["gguf-q8_0"], texts, monkeypatch)
    assert Cosines.between(vectors, exported.model.encode(texts)).least > 0.995


def test_a_causal_models_longest_text_has_room(tmp_path, monkeypatch):
    """llama.cpp makes room for multiples of 256 tokens, and wants one more than such a text has."""
    folder = make_tiny_qwen3_teacher(tmp_path / "student")
    change_json(folder / "config.json", {"max_position_embeddings": 256})
    change_json(folder / "sentence_bert_config.json", {"max_seq_length": 256})
    change_json(folder / "tokenizer_config.json", {"model_max_length": 256})
    model = load_sentence_transformer(folder, "cpu")
    out = make_export(model, folder, "gguf-q8_0")
    text = "1" * 255  # a token each, and one behind
    vectors = [LlamaClient(out / "model-q8_0.gguf", out, 1)([text]), vectors_by_the_card(out, [text], monkeypatch)]
    assert len(student_ids(model, [text])[0]) == 256
    assert all(Cosines.between(found, model.encode([text])).least > 0.99 for found in vectors)


def assert_refused(folder, says, made="gguf-f16"):
    with pytest.raises(ExportError, match=says):
        make_export(load_sentence_transformer(folder, "cpu"), folder, made)


def test_a_family_without_a_place_in_llama_cpp_is_refused_by_name(tmp_path):
    model, folder = make_student(tmp_path, "modernbert")
    with pytest.raises(ExportError, match="of the type 'modernbert'"):
        make_export(model, folder, "gguf-f16")


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("config.json", {"hidden_act": "relu"}, "this model has 'relu'"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True},
            "no pooling 'max_tokens'",
        ),
    ],
)
def test_what_llama_cpp_computes_differently_is_refused(tmp_path, file, change, says):
    folder = make_tiny_bert_teacher(tmp_path / "student")
    change_json(folder / file, change)
    assert_refused(folder, says)


def test_a_dense_module_is_refused(tmp_path):
    folder = make_tiny_bert_teacher(tmp_path / "student")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[2] = {**modules[2], "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    write_dense(folder / "2_Dense", HIDDEN, HIDDEN, seed=2)
    assert_refused(folder, "no Dense module after a BERT")


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (
            "config.json",
            {"use_bidirectional_attention": False},
            "use_bidirectional_attention True; this model has False",
        ),
        ("config.json", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping None; this model has 50.0"),
        ("config.json", {"rope_parameters": {"full_attention": LINEAR}}, "this model scales them \\('linear'\\)"),
        ("tokenizer.json", {"normalizer": {"type": "NFC"}}, "this normalizer differs"),
    ],
)
def test_what_llama_cpp_computes_differently_of_a_gemma_is_refused(tmp_path, file, change, says):
    folder = make_tiny_gemma_teacher(tmp_path / "student")
    change_json(folder / file, change)
    assert_refused(folder, says)


def test_dense_modules_that_would_abort_llama_cpp_are_refused(tmp_path):
    folder = make_tiny_gemma_teacher(tmp_path / "student")
    shutil.rmtree(folder / "3_Dense")
    write_dense(folder / "3_Dense", 2 * HIDDEN, HIDDEN // 2, seed=3)
    assert_refused(folder, "have the transformer's width, 32; this model's have 16 dimensions")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    (folder / "modules.json").write_text(json.dumps([*modules[:3], modules[4]]), encoding="utf-8")
    assert_refused(folder, "two Dense modules after a Gemma 3, or none; this model has 1", "gguf-q8_0")


@pytest.mark.parametrize("settings", [{"bias": True}, {"activation_function": torch.nn.Tanh()}, {"use_residual": True}])
def test_dense_modules_that_are_more_than_a_linear_map_are_refused(tmp_path, settings):
    folder = make_tiny_gemma_teacher(tmp_path / "student")
    shutil.rmtree(folder / "2_Dense")
    linear = {"bias": False, "activation_function": torch.nn.Identity()}
    (folder / "2_Dense").mkdir()
    Dense(HIDDEN, 2 * HIDDEN, **{**linear, **settings}).save(str(folder / "2_Dense"))
    assert_refused(folder, "linear Dense modules without a bias")


def test_a_module_between_pooling_and_dense_ones_is_refused(tmp_path):
    folder = make_tiny_gemma_teacher(tmp_path / "student")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    moved = [*modules[:2], modules[4], *modules[2:4]]
    (folder / "modules.json").write_text(
        json.dumps([{**module, "idx": place} for place, module in enumerate(moved)]), encoding="utf-8"
    )
    assert_refused(folder, "no Normalize module after a Gemma 3")


def test_a_gemma_needs_no_dense_module_and_any_layer_may_see_the_whole_text(tmp_path):
    folder = make_tiny_gemma_teacher(tmp_path / "student")
    change_json(folder / "config.json", {"layer_types": ["full_attention", "sliding_attention"]})
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    (folder / "modules.json").write_text(json.dumps([*modules[:2], modules[4]]), encoding="utf-8")
    model, client = export_f16(folder)
    assert Cosines.between(client(TEXTS[::7]), model.encode(TEXTS[::7])).least > 0.9999


@pytest.mark.parametrize(
    "change",
    [
        *({"sliding_window": window} for window in (8, 12, 40)),
        {"rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}},
        {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 50.0}}},
        {"query_pre_attn_scalar": 4},
        {"rms_norm_eps": 0.1},
    ],
)
def test_attention_of_a_gemma_is_that_of_its_settings(tmp_path, change):
    folder = make_tiny_gemma_teacher(tmp_path / "student")
    change_json(folder / "config.json", change)
    model, client = export_f16(folder)
    long = ["deniz mavi bir ev ve eski vapur " * 3]
    assert Cosines.between(client(long), model.encode(long)).least > 0.99999


@pytest.mark.parametrize(
    "change", [{"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}, {"rms_norm_eps": 0.1}]
)
def test_attention_of_a_qwen3_is_that_of_its_settings(tmp_path, change):
    folder = make_tiny_qwen3_teacher(tmp_path / "student")
    change_json(folder / "config.json", change)
    model, client = export_f16(folder)
    long = ["deniz mavi bir ev ve eski vapur " * 3]
    assert Cosines.between(client(long), model.encode(long)).least > 0.99999


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"use_sliding_window": True, "max_window_layers": 1}, "use_sliding_window False; this model has True"),
        ({"attention_bias": True}, "attention_bias False; this model has True"),
        ({"rope_parameters": LINEAR}, r"this model scales them \('linear'\)"),
    ],
)
def test_what_llama_cpp_computes_differently_of_a_qwen3_is_refused(tmp_path, change, says):
    folder = make_tiny_qwen3_teacher(tmp_path / "student")
    change_json(folder / "config.json", change)
    assert_refused(folder, says)


QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen_words(pattern: str) -> dict:
    """Qwen's cut into words: a pattern, then bytes."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    bytes_alone = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, bytes_alone]}


def test_words_are_those_of_qwens_own_pattern(tmp_path):
    """Its digits stand alone, which GPT-2's do not, and a sign goes to the letters behind it."""
    folder = make_tiny_qwen3_teacher(tmp_path / "student")
    change_json(folder / "tokenizer.json", {"pre_tokenizer": qwen_words(QWEN_WORDS)})
    texts = [*TEXTS, "12.50 (eski) 9:45", "wasn't IT'S", "ev\n\n  ev"]
    model, client = export_f16(folder)
    assert client.ids(texts) == student_ids(model, texts)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pre_tokenizer": qwen_words(r"\p{L}+")}, "no pre-tokenizer that splits text into words"),
        (
            {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
            "ByteLevel",
        ),
        (
            {"model": {**json.loads(byte_level_spec())["model"], "ignore_merges": True}},
            "uses words that are tokens as they are",
        ),
        ({"normalizer": {"type": "NFKC"}}, "llama.cpp's BPE has no normalizer; this tokenizer has NFKC"),
    ],
)
def test_a_bpe_that_llama_cpp_cuts_otherwise_is_refused(tmp_path, change, says):
    folder = make_tiny_qwen3_teacher(tmp_path / "student")
    change_json(folder / "tokenizer.json", change)
    assert_refused(folder, says)


def test_the_card_asks_for_composed_text_where_the_tokenizer_composes_it(exported):
    """The Tibetan letters among the texts show that llama.cpp alone does not."""
    usage = find_format("gguf-f16").usage(exported.folders["gguf-f16"], [])
    assert ('unicodedata.normalize("NFC", text)' in usage) == (exported.kind == "qwen3")
    texts = ["cafe\u0301 \u0f43", "caf\u00e9 \u0f42\u0fb7"]
    assert exported.clients["gguf-f16"].ids(texts) == student_ids(exported.model, texts)


def test_rows_without_a_token_are_no_harm(tmp_path):
    """As the tables of Qwen3 have them, whose sizes are round."""
    folder = make_tiny_qwen3_teacher(tmp_path / "student")
    model = load_sentence_transformer(folder, "cpu")
    model[0].auto_model.resize_token_embeddings(model[0].auto_model.config.vocab_size + 7)
    out = make_export(model, folder, "gguf-f16")
    client = LlamaClient(out / "model-f16.gguf", out, threads=1)
    assert Cosines.between(client(TEXTS[::50]), model.encode(TEXTS[::50])).least > 0.9999


def test_a_roberta_reads_bytes(tmp_path):
    """Its positions start behind the padding id, as XLM-RoBERTa's do."""
    folder = write_byte_level(tmp_path / "student")
    padding = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("<|pad|>")
    make_tiny_model(folder, "Roberta", pad_token_id=padding, max_position_embeddings=MAX_LENGTH + padding + 1)
    model, client = export_f16(folder)
    assert client.ids(TEXTS) == student_ids(model, TEXTS)
    assert Cosines.between(client(TEXTS[::7]), model.encode(TEXTS[::7])).least > 0.9999


def test_the_length_limit_may_be_the_tokenizers_alone(tmp_path):
    """As in Qwen3-Embedding, which has no file of sentence-transformers for it."""
    folder = make_tiny_qwen3_teacher(tmp_path / "student")
    (folder / "sentence_bert_config.json").unlink()
    model, client = export_f16(folder)
    assert client.ids(["deniz mavi " * 90]) == student_ids(model, ["deniz mavi " * 90])


def test_two_tokens_at_an_end_are_refused(tmp_path):
    folder = make_tiny_qwen3_teacher(tmp_path / "student")
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    spec["post_processor"]["single"] += [spec["post_processor"]["single"][-1]]
    (folder / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    assert_refused(folder, "adds one token at each end of a text; this tokenizer adds 2")
