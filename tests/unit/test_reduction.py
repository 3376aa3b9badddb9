"""The clone made smaller: which layers are left, what they compute, and vectors of fewer dimensions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from langtailor.config.student import StudentSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError, LangtailorError
from langtailor.models.safetensors_file import copy_tensors, tensor_digests
from langtailor.models.similarity import unit
from langtailor.reduction import shorter_vectors
from langtailor.reduction.layers import chosen_layers, layer_count, reduced_config
from langtailor.reduction.mapping import least_squares
from langtailor.reduction.projection import project_vectors, read_projection
from langtailor.reduction.reduce import reduce_clone
from langtailor.reduction.shorter_vectors import principal_components, shorten
from langtailor.storage.artifacts import Manifest, read_manifest, seal_directory
from langtailor.storage.tables import CORPUS, write_table
from langtailor.vectors.store import VectorStore, text_digests, write_shard
from tests.models import HIDDEN, make_tiny_gemma_teacher, make_tiny_model
from tests.unit.surgery_teachers import write_wordpiece

TEXTS = [
    "the ferry leaves at eight",
    "kapı",
    "nobody remembers who planted the walnut tree",
    "a b c d e f g h i j k l m n",
]
FACTS = {"parameters": {"before": 9, "after": 9}, "bytes": {"before": 9, "after": 9}, "rows": {"before": 9, "after": 9}}


def sealed(folder: Path) -> Path:
    """A model folder as a clone."""
    seal_directory(folder, Manifest("clone", {"method": "mean"}, {"teacher": "t"}, FACTS))
    return folder


def make_clone(folder: Path, kind: str, **config: Any) -> Path:
    """A clone of an architecture with four layers, whose vectors mean nothing."""
    write_wordpiece(folder)
    return sealed(make_tiny_model(folder, kind, **config))


def reduce(clone: Path, vectors: dict[str, list[Path]], settings: StudentSettings, out: Path) -> None:
    """The clone made smaller, without text."""
    reduce_clone(clone, vectors, settings, out, corpora={}, reading=TeacherSettings(model="./teacher"))


def loaded(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def without_other_layers(folder: Path, layers: list[int]) -> np.ndarray:
    """Vectors of the whole model in whose memory only some layers are left."""
    model = loaded(folder)
    transformer: Any = model[0].auto_model
    stacks = [
        (parent, name, child)
        for parent in transformer.modules()
        for name, child in parent.named_children()
        if isinstance(child, torch.nn.ModuleList)
    ]
    ((parent, name, stack),) = stacks
    setattr(parent, name, torch.nn.ModuleList(stack[layer] for layer in layers))
    transformer.config.num_hidden_layers = len(layers)
    if types := getattr(transformer.config, "layer_types", None):
        transformer.config.layer_types = [types[layer] for layer in layers]
    return np.asarray(model.encode(TEXTS))


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({"layers": 6}, [0, 2, 4, 7, 9, 11]),
        ({"layers": 2}, [0, 11]),
        ({"layers": 1}, [0]),
        ({"layers": 12}, list(range(12))),
        ({}, list(range(12))),
        ({"layers": 3, "layer_choice": "first"}, [0, 1, 2]),
        ({"layers": 3, "layer_choice": "last"}, [9, 10, 11]),
        ({"layers": [7, 1]}, [1, 7]),
    ],
)
def test_layers_are_chosen_by_number_or_name(settings: dict[str, Any], layers: list[int]) -> None:
    assert chosen_layers(StudentSettings(**settings), 12) == layers


@pytest.mark.parametrize("layers", [13, [3, 12]])
def test_layers_that_the_model_lacks_are_refused(layers: Any) -> None:
    with pytest.raises(ConfigError, match=r"`student.layers`: found 1[23], but the model has"):
        chosen_layers(StudentSettings(layers=layers), 12)


FAMILIES = {
    "Bert": {},
    "XLMRoberta": {"max_position_embeddings": 130, "pad_token_id": 1, "type_vocab_size": 1},
    "DistilBert": {"dim": HIDDEN, "n_layers": 4, "n_heads": 2, "hidden_dim": 64},
    "MPNet": {"max_position_embeddings": 130, "pad_token_id": 1},
    "ModernBert": {"pad_token_id": 0, "global_attn_every_n_layers": 3, "local_attention": 4},
    "Qwen3": {"num_key_value_heads": 1, "head_dim": 16},
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_layers_that_are_left_compute_as_in_the_whole_model(kind: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", kind, **FAMILIES[kind])
    reduce(clone, {}, StudentSettings(layers=[0, 2, 3]), tmp_path / "small")
    expected = without_other_layers(clone, [0, 2, 3])
    assert np.abs(np.asarray(loaded(clone).encode(TEXTS)) - expected).max() > 1e-3, "the layer counts"
    np.testing.assert_allclose(loaded(tmp_path / "small").encode(TEXTS), expected, atol=1e-6)


def test_each_of_gemmas_layers_keeps_its_kind_of_attention(tmp_path: Path) -> None:
    clone = sealed(make_tiny_gemma_teacher(tmp_path / "clone"))
    reduce(clone, {}, StudentSettings(layers=[1]), tmp_path / "small")
    config = json.loads((tmp_path / "small" / "config.json").read_text(encoding="utf-8"))
    assert (config["num_hidden_layers"], config["layer_types"]) == (1, ["full_attention"])
    long = [" ".join(TEXTS * 4)]
    model = loaded(clone)
    transformer: Any = model[0].auto_model
    transformer.layers = transformer.layers[1:]
    transformer.config.num_hidden_layers, transformer.config.layer_types = 1, ["full_attention"]
    np.testing.assert_allclose(loaded(tmp_path / "small").encode(long), model.encode(long), atol=1e-6)


def test_what_is_left_is_the_teachers_byte_by_byte(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", "Bert")
    reduce(clone, {}, StudentSettings(layers=[1, 3]), tmp_path / "small")
    before, after = (tensor_digests(folder / "model.safetensors") for folder in (clone, tmp_path / "small"))
    weight = "encoder.layer.{}.output.dense.weight"
    assert after[weight.format(0)] == before[weight.format(1)] != before[weight.format(0)]
    assert after[weight.format(1)] == before[weight.format(3)]
    assert after["embeddings.word_embeddings.weight"] == before["embeddings.word_embeddings.weight"]
    manifest = read_manifest(tmp_path / "small", "clone")
    facts = manifest.facts["reduction"]
    assert (facts["layers"], facts["teacher_layers"], facts["identical_tensors"]) == ([1, 3], 4, len(after))
    assert manifest.facts["parameters"]["after"] < sum(
        t.numel() for t in load_file(clone / "model.safetensors").values()
    )
    assert manifest.facts["rows"] == FACTS["rows"]


def test_a_sharded_model_gets_a_new_index(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", "Bert")
    tensors = load_file(clone / "model.safetensors")
    (clone / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {name: f"model-0000{1 + (2 * at > len(names))}-of-00002.safetensors" for at, name in enumerate(names)}
    for file in sorted(set(files.values())):
        save_file({name: tensors[name] for name in names if files[name] == file}, clone / file, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (clone / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    reduce(sealed(clone), {}, StudentSettings(layers=[0, 3]), tmp_path / "small")
    index = json.loads((tmp_path / "small" / "model.safetensors.index.json").read_text(encoding="utf-8"))
    assert {name.split(".")[2] for name in index["weight_map"] if name.startswith("encoder.layer.")} == {"0", "1"}
    assert index["metadata"]["total_size"] < sum(t.numel() * 4 for t in tensors.values())
    np.testing.assert_allclose(loaded(tmp_path / "small").encode(TEXTS), without_other_layers(clone, [0, 3]), atol=1e-6)


def left_out_one_by_one(clone: Path, count: int, allowed: Callable[[list[int]], bool]) -> list[int]:
    """What the choice is said to do, by models in whose memory layers are missing."""
    whole, kept = unit(np.asarray(loaded(clone).encode(TEXTS))), [0, 1, 2, 3]
    while len(kept) > count:
        rest = [[each for each in kept if each != layer] for layer in kept]
        cosines = [
            float((unit(without_other_layers(clone, some)) * whole).sum(1).mean()) if allowed(some) else -1.0
            for some in rest
        ]
        kept = rest[int(np.argmax(cosines))]
    return kept


@pytest.mark.parametrize("kind", FAMILIES)
def test_layers_are_left_out_by_what_that_does_to_the_vectors(kind: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", kind, **FAMILIES[kind])
    corpora = {"tr": write_corpus(tmp_path / "tr.parquet", TEXTS, "validation")}
    settings, reading = StudentSettings(layers=2, layer_choice="agreement"), TeacherSettings(model="./teacher")
    reduce_clone(clone, {}, settings, tmp_path / "small", corpora=corpora, reading=reading)
    # ModernBERT's first layer is unlike the others, which cannot take its place.
    expected = left_out_one_by_one(clone, 2, lambda kept: kind != "ModernBert" or 0 in kept)
    facts = read_manifest(tmp_path / "small", "clone").facts["reduction"]
    assert facts["layers"] == expected
    assert sorted(each["layer"] for each in facts["left_out"]) == sorted({0, 1, 2, 3} - set(expected))
    given = unit(np.asarray(loaded(tmp_path / "small").encode(TEXTS)))
    whole = unit(np.asarray(loaded(clone).encode(TEXTS)))
    assert facts["left_out"][-1]["cosine"] == pytest.approx((given * whole).sum(1).mean(), abs=1e-5)


def test_without_validation_text_layers_cannot_be_chosen(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", "Bert")
    corpora = {"tr": write_corpus(tmp_path / "tr.parquet", TEXTS)}
    settings, reading = StudentSettings(layers=2, layer_choice="agreement"), TeacherSettings(model="./teacher")
    with pytest.raises(ConfigError, match=r"corpus\.quotas\.validation.*there is no validation passage"):
        reduce_clone(clone, {}, settings, tmp_path / "small", corpora=corpora, reading=reading)


def test_a_layer_that_differs_from_the_first_does_not_take_its_place(tmp_path: Path) -> None:
    """ModernBERT's first layer has no norm before its attention: another one in its place would lose its own."""
    clone = make_clone(tmp_path / "clone", "ModernBert", **FAMILIES["ModernBert"])
    with pytest.raises(ConfigError, match=r"layer 1 would replace layer 0, which differs in attn_norm.weight"):
        reduce(clone, {}, StudentSettings(layers=[1, 2]), tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_a_model_without_numbered_layers_is_refused(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", "Bert")
    tensors = load_file(clone / "model.safetensors")
    moved = {name.replace("layer.1.", "layer.9."): tensor for name, tensor in tensors.items()}
    save_file(moved, clone / "model.safetensors", {"format": "pt"})
    (clone / "manifest.json").unlink()
    with pytest.raises(LangtailorError, match="expected the tensors of 4 numbered layers"):
        reduce(sealed(clone), {}, StudentSettings(layers=2), tmp_path / "small")


def test_only_lists_of_layers_are_shortened() -> None:
    config = {"num_hidden_layers": 2, "eos_token_id": [1, 7], "no_rope_layers": [0, 1]}
    new = reduced_config(config, [1], ["a", "b"])
    assert new == {"num_hidden_layers": 1, "eos_token_id": [1, 7], "no_rope_layers": [1], "layer_types": ["b"]}
    assert reduced_config({"text_config": config}, [0], None)["text_config"]["no_rope_layers"] == [0]


def test_a_configuration_without_a_number_of_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LangtailorError, match="does not say how many layers"):
        layer_count({"hidden_size": 3}, tmp_path / "config.json")


def test_tensors_are_copied_under_new_names(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.bfloat16), "c": torch.zeros(0)}
    save_file(tensors, tmp_path / "old.safetensors", {"format": "pt"})
    copy_tensors(tmp_path / "old.safetensors", tmp_path / "new.safetensors", {"b": "first", "c": "c", "other": "x"})
    new = load_file(tmp_path / "new.safetensors")
    assert {name: (t.dtype, tuple(t.shape)) for name, t in new.items()} == {
        "first": (torch.bfloat16, (3,)),
        "c": (torch.float32, (0,)),
    }
    assert new["first"].tolist() == [1, 1, 1]


# -- fewer dimensions --------------------------------------------------------------------------------------------------


def write_vectors(path: Path, vectors: np.ndarray, split: str = "train") -> Path:
    """A shard of one language."""
    rows = len(vectors)
    ids, splits = pa.array([f"p{row}" for row in range(rows)]), pa.array([split] * rows)
    manifest = Manifest("vectors", {"reads": "text", "prompt": ""}, {"teacher": "t"}, {"tokens": rows})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(path, ids, splits, text_digests(ids.to_pylist(), ""), vectors.astype(np.float16), manifest)
    return path


def on_a_plane(rows: int, width: int = HIDDEN) -> np.ndarray:
    """Vectors that are nearly in three dimensions of many."""
    generator = np.random.default_rng(3)
    basis = np.linalg.qr(generator.normal(size=(width, 3)))[0].T
    vectors = generator.normal(size=(rows, 3)) * [3, 2, 1] @ basis + generator.normal(size=(rows, width)) * 0.01
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_components_are_the_directions_of_most_of_the_length(tmp_path: Path) -> None:
    vectors = on_a_plane(500)
    store = VectorStore.open([write_vectors(tmp_path / "v.arrow", vectors)])
    components, share = principal_components([store], 3)
    np.testing.assert_allclose(components @ components.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(vectors @ components.T @ components, vectors, atol=0.2)
    assert 0.99 < share < 1
    reached = ((vectors @ components.T) ** 2).sum(axis=0)
    assert list(reached) == sorted(reached, reverse=True)
    assert all(row[np.abs(row).argmax()] > 0 for row in components)


def cloud(rows: int) -> np.ndarray:
    """Vectors around a common direction, as those of many encoders are, and some of them near one another."""
    generator = np.random.default_rng(4)
    topics = generator.normal(size=(rows // 6, HIDDEN)) * np.linspace(1.5, 0.5, HIDDEN)
    vectors = 2 + np.repeat(topics, 6, axis=0) + generator.normal(size=(rows, HIDDEN)) * np.linspace(0.5, 1.5, HIDDEN)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def changes_of_near_cosines(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """By hand: how much a projection changes the cosine of each vector to its eight nearest others; shape (n, 8)."""
    shorter = unit(vectors @ weights.T)
    rows = []
    for own, short in zip(vectors, shorter, strict=True):
        cosines = vectors @ own
        near = np.argsort(-cosines)[1:9]  # the first is the vector itself
        rows.append(shorter[near] @ short - cosines[near])
    return np.array(rows)


def test_a_projection_keeps_the_cosines_of_near_vectors_better_than_components(tmp_path: Path) -> None:
    store = VectorStore.open([write_vectors(tmp_path / "v.arrow", cloud(1_200))])
    found = shorten([store], 8, compares_length=False)
    components, retained = principal_components([store], 8)
    assert found.retained == retained
    assert found.error < 0.7 * found.components_error
    vectors = np.unique(unit(store.take(np.arange(len(store)))), axis=0)
    for weights, error in ((components, found.components_error), (found.weights, found.error)):
        changes = changes_of_near_cosines(vectors, weights)
        np.testing.assert_allclose(np.sqrt((changes[::10] ** 2).mean()), error, rtol=1e-3)
        lengths = np.linalg.norm(vectors @ weights.T), np.linalg.norm(vectors @ components.T)
        np.testing.assert_allclose(*lengths, rtol=1e-5)
    np.testing.assert_array_equal(shorten([store], 8, compares_length=False).weights, found.weights)


def test_components_stay_where_a_fit_keeps_nothing_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VectorStore.open([write_vectors(tmp_path / "v.arrow", cloud(300))])
    components, _ = principal_components([store], 8)
    monkeypatch.setattr(shorter_vectors, "fit_to_neighbours", lambda rows, start: (start + 1, (0.1, 0.2)))
    found = shorten([store], 8, compares_length=False)
    np.testing.assert_array_equal(found.weights, components)
    assert found.error == found.components_error == 0.1


@pytest.mark.parametrize(("rows", "compares_length"), [(300, True), (18, False)])
def test_the_components_are_taken_where_length_counts_or_texts_are_few(
    rows: int, compares_length: bool, tmp_path: Path
) -> None:
    store = VectorStore.open([write_vectors(tmp_path / "v.arrow", cloud(rows))])
    found = shorten([store], 5, compares_length=compares_length)
    np.testing.assert_array_equal(found.weights, principal_components([store], 5)[0])


def test_it_is_fitted_to_some_vectors_of_all_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, seen = cloud(600), []
    parts = {"few": vectors[:60], "many": vectors[60:]}
    stores = [VectorStore.open([write_vectors(tmp_path / f"{name}.arrow", part)]) for name, part in parts.items()]
    monkeypatch.setattr(shorter_vectors, "_VECTORS", 100)
    monkeypatch.setattr(
        shorter_vectors, "fit_to_neighbours", lambda rows, start: (seen.append(rows), (start, (0, 0)))[1]
    )
    shorten(stores, 4, compares_length=False)
    few = {row.tobytes() for row in unit(stores[0].take(np.arange(60)))}
    assert len(seen[0]) == 100
    assert sum(row.tobytes() in few for row in seen[0]) == 10


def test_the_student_and_the_targets_are_projected_alike(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", "Bert")
    vectors = np.asarray(loaded(clone).encode(TEXTS))
    shards = {"tr": [write_vectors(tmp_path / "tr" / "0000.arrow", vectors)]}
    reduce(clone, shards, StudentSettings(dimensions=5), tmp_path / "small")
    project_vectors(tmp_path / "small", shards, tmp_path / "projected")
    student = np.asarray(loaded(tmp_path / "small").encode(TEXTS))
    store = VectorStore.open([tmp_path / "projected" / "tr" / "0000.arrow"])
    assert student.shape == (len(TEXTS), 5)
    np.testing.assert_allclose(store.take(np.arange(len(TEXTS))), student, atol=2e-3 * np.abs(student).max())
    store.check_texts(pa.table({"text": [f"p{row}" for row in range(len(TEXTS))], "pair": [None] * len(TEXTS)}))
    facts = read_manifest(tmp_path / "small", "clone").facts["reduction"]
    assert (facts["dimensions"], facts["layers"], facts["identical_tensors"]) == (5, [0, 1, 2, 3], None)
    assert 0 < facts["retained"] <= 1 and facts["cosine_error"].keys() == {"components", "fitted"}


def test_where_the_model_scales_vectors_the_projection_comes_before(tmp_path: Path) -> None:
    write_wordpiece(tmp_path / "clone")
    clone = sealed(make_tiny_model(tmp_path / "clone", "Bert", "Normalize"))
    shards = {"tr": [write_vectors(tmp_path / "tr" / "0000.arrow", np.asarray(loaded(clone).encode(TEXTS)))]}
    reduce(clone, shards, StudentSettings(layers=2, dimensions=4), tmp_path / "small")
    project_vectors(tmp_path / "small", shards, tmp_path / "projected")
    modules = json.loads((tmp_path / "small" / "modules.json").read_text(encoding="utf-8"))
    assert [module["type"].rpartition(".")[2] for module in modules] == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert [module["path"] for module in modules] == ["", "1_Pooling", "2_Dense", "3_Normalize"]
    loaded(tmp_path / "small").save_pretrained(str(tmp_path / "saved"))
    assert {path.name for path in (tmp_path / "saved").glob("*_*") if path.is_dir()} >= {"1_Pooling", "2_Dense"}
    targets = VectorStore.open([tmp_path / "projected" / "tr" / "0000.arrow"]).take(np.arange(len(TEXTS)))
    for vectors in (targets, np.asarray(loaded(tmp_path / "small").encode(TEXTS))):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize(
    ("dimensions", "split", "message"),
    [(HIDDEN, "train", "found 32, but the teacher's vectors have 32"), (4, "test", "there is no passage to compute")],
)
def test_dimensions_that_cannot_be_chosen_are_refused(
    dimensions: int, split: str, message: str, tmp_path: Path
) -> None:
    shard = write_vectors(tmp_path / "tr" / "0000.arrow", on_a_plane(9), split)
    with pytest.raises(ConfigError, match=message):
        principal_components([VectorStore.open([shard], "train")], dimensions)


def test_the_map_to_the_teachers_vectors_is_the_one_that_there_is() -> None:
    random = np.random.default_rng(3)
    own, true = random.normal(size=(400, 6)).astype(np.float32) + 2, random.normal(size=(9, 6)).astype(np.float32)
    targets = own @ true.T + np.arange(9, dtype=np.float32)
    found = least_squares(own, targets, 1e-9)
    np.testing.assert_allclose(found.weights, true, atol=1e-4)
    np.testing.assert_allclose(found.bias, np.arange(9), atol=1e-3)
    np.testing.assert_allclose(found(own), targets, atol=1e-3)
    shrunk = least_squares(own, targets, 10.0)
    assert np.linalg.norm(shrunk.weights) < 0.2 * np.linalg.norm(true), "a ridge shrinks the weights"
    np.testing.assert_allclose(shrunk(own).mean(axis=0), targets.mean(axis=0), atol=1e-3)


def test_another_encoders_vectors_are_mapped_to_the_teachers(tmp_path: Path) -> None:
    write_wordpiece(tmp_path / "clone")
    clone = sealed(make_tiny_model(tmp_path / "clone", "Bert", "Normalize"))
    texts = [f"the ferry number {number} leaves at {number % 7}" for number in range(120)]
    true = np.random.default_rng(5).normal(size=(48, HIDDEN)).astype(np.float32)
    vectors = unit(np.asarray(loaded(clone).encode(texts)) @ true.T)
    shards = {"tr": [write_vectors(tmp_path / "tr" / "0000.arrow", vectors)]}
    corpora = {"tr": write_corpus(tmp_path / "tr.parquet", texts)}
    settings, reading = StudentSettings(model="./clone"), TeacherSettings(model="./clone")
    reduce_clone(clone, shards, settings, tmp_path / "mapped", corpora=corpora, reading=reading)
    np.testing.assert_allclose(loaded(tmp_path / "mapped").encode(texts), vectors, atol=0.05)
    facts = read_manifest(tmp_path / "mapped", "clone").facts["reduction"]
    assert facts["mapped"] > 0.999 and facts["dimensions"] is None

    short = StudentSettings(model="./clone", dimensions=5)
    reduce_clone(clone, shards, short, tmp_path / "short", corpora=corpora, reading=reading)
    project_vectors(tmp_path / "short", shards, tmp_path / "projected")
    targets = VectorStore.open([tmp_path / "projected" / "tr" / "0000.arrow"]).take(np.arange(len(texts)))
    np.testing.assert_allclose(targets, unit(vectors @ read_projection(tmp_path / "short").T), atol=2e-3)
    np.testing.assert_allclose(loaded(tmp_path / "short").encode(texts), targets, atol=0.1)


def mapped(folder: Path, passages: int) -> None:
    """Map a model's vectors to the teacher's of so few passages."""
    write_wordpiece(folder / "clone")
    clone = sealed(make_tiny_model(folder / "clone", "Bert", "Normalize"))
    texts = [f"the ferry number {number}" for number in range(passages)]
    shards = {"tr": [write_vectors(folder / "tr" / "0000.arrow", unit(np.asarray(loaded(clone).encode(texts))))]}
    corpora = {"tr": write_corpus(folder / "tr.parquet", texts)}
    settings, reading = StudentSettings(model="./clone"), TeacherSettings(model="./clone")
    reduce_clone(clone, shards, settings, folder / "mapped", corpora=corpora, reading=reading)


def test_two_passages_are_too_few_for_the_map_and_three_are_enough(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.quotas\.train.*found 2 passages .* at least 3 are needed"):
        mapped(tmp_path / "two", 2)
    mapped(tmp_path / "three", 3)
    assert np.isfinite(loaded(tmp_path / "three" / "mapped").encode(TEXTS)).all()


def write_corpus(path: Path, texts: list[str], split: str = "train") -> Path:
    """A corpus of one split alone."""
    columns = {field.name: pa.nulls(len(texts), field.type) for field in CORPUS}
    known = {"id": [f"p{row}" for row in range(len(texts))], "text": texts, "split": [split] * len(texts)}
    table = pa.table({**columns, **{name: pa.array(values) for name, values in known.items()}}).cast(CORPUS)
    facts = {"passages": {"train": 0, "validation": 0, "test": 0, split: len(texts)}}
    write_table(path, table, Manifest("corpus", {}, {}, facts))
    return path
