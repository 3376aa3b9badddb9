"""The clone: the teacher's vectors on kept text, every other tensor as it was, every id put right."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    Gemma3TextConfig,
    GPT2Config,
    ModernBertConfig,
    MPNetConfig,
    Qwen3Config,
    T5Config,
    T5EncoderModel,
    XLMRobertaConfig,
)

from langtailor.clone.clone import clone_model
from langtailor.config.initialisation import InitialisationSettings
from langtailor.errors import ArtifactError, LangtailorError
from langtailor.models.safetensors_file import stored_tensors
from langtailor.models.vocabulary_tensors import find_vocabulary_tensors
from langtailor.storage.artifacts import MANIFEST_NAME, Manifest, directory_digest, read_manifest, seal_directory
from langtailor.storage.digests import sha256_file
from langtailor.storage.tables import MAPPING, MAPPING_NAME, VOCABULARY, read_table, write_table
from langtailor.surgery.base import Layout, Origin
from langtailor.surgery.registry import load_family
from langtailor.surgery.segmentation import segment
from langtailor.tokenizer.write import write_files
from langtailor.vocabulary.table import layout_to_table
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher
from tests.unit.surgery_teachers import TARGET, TEXTS

TEACHERS: Mapping[str, Callable[[Path], Path]] = {
    "bert": make_tiny_bert_teacher,
    "gemma": make_tiny_gemma_teacher,
    "xlmr": make_tiny_xlmr_teacher,
}
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Workshop:
    """A teacher, a vocabulary that keeps part of its tokens and adds some, and the tokenizer of that vocabulary."""

    root: Path
    layout: Layout

    @property
    def teacher(self) -> Path:
        return self.root / "teacher"

    @property
    def family(self) -> Any:
        return load_family(self.teacher)

    def clone(self, name: str = "clone", seed: int = 3, **settings: Any) -> Path:
        out = self.root / name
        inputs = (self.teacher, self.root / "tokenizer", self.root / "vocabulary.parquet")
        clone_model(*inputs, InitialisationSettings(**{"method": "mean", **settings}), seed, out)
        return out

    def table(self, folder: Path) -> torch.Tensor:
        tensors = load_file(folder / WEIGHTS)
        return tensors[embedding(tensors)]

    @property
    def new(self) -> list[int]:
        return [row for row, token in enumerate(self.layout.tokens) if token in self.layout.grafts]


def make_workshop(
    root: Path, kind: str, change: Callable[[Path], Any] = lambda teacher: None, share: float = 0.7
) -> Workshop:
    teacher = TEACHERS[kind](root / "teacher")
    change(teacher)
    seal_directory(teacher, Manifest("teacher", facts={}))
    return furnish(root, choose(teacher, share))


def choose(teacher: Path, share: float) -> Layout:
    """What must stay, a share of the other tokens with what they need, 20 grafts and 3 rows of padding."""
    family = load_family(teacher)
    drawn = np.flatnonzero(np.random.default_rng(1).random(len(family.tokens)) < share)
    drawn = np.setdiff1d([i for i in drawn.tolist() if family.tokens[i] is not None], family.placeholder_ids())
    needed = {n for i in drawn.tolist() for n in family.requirements(i)}
    kept = np.union1d(np.union1d(family.special_ids(), family.alphabet_ids()), [*drawn, *needed]).astype(np.int32)
    grafts = family.propose_grafts(kept, family.words(TARGET), 20, 1, None)
    assert grafts
    return family.layout(kept, grafts, 3)


def furnish(root: Path, layout: Layout) -> Workshop:
    """Write vocabulary and tokenizer of a layout as the workflow does."""
    family, vocabulary, tokenizer = load_family(root / "teacher"), root / "vocabulary.parquet", root / "tokenizer"
    special = {family.tokens[i] for i in family.special_ids().tolist()}

    def origin(token: str) -> Origin:
        if token in layout.padding:
            return "padding"
        return "special" if token in special else "target-language" if token in layout.grafts else "corpus"

    origins = [origin(token) for token in layout.tokens]
    counts = np.arange(len(layout))
    table = layout_to_table(layout, counts, origins, ["tested"] * len(layout))
    write_table(vocabulary, table, Manifest("vocabulary"))
    tokenizer.mkdir(exist_ok=True)
    write_files(family, layout, root / "teacher", tokenizer)
    inputs = {"teacher": directory_digest(root / "teacher"), "vocabulary": sha256_file(vocabulary)}
    seal_directory(tokenizer, Manifest("tokenizer", inputs=inputs))
    return Workshop(root, layout)


def embedding(names: Mapping[str, Any]) -> str:
    return next(name for name in names if name.endswith(("word_embeddings.weight", "embed_tokens.weight")))


def kept_texts(workshop: Workshop) -> list[str]:
    """Texts, and parts of them, that the teacher writes with kept tokens alone and that no graft cuts anew."""
    old, new = (AutoTokenizer.from_pretrained(workshop.root / name) for name in ("teacher", "tokenizer"))
    row = {int(teacher_id): row for row, teacher_id in enumerate(workshop.layout.teacher_ids)}
    words = " ".join(TEXTS).split()
    parts = [" ".join(words[i : i + n]) for n in (3, 2, 1) for i in range(0, len(words), n)]
    texts = list(dict.fromkeys([*TEXTS, *parts]))
    ids = zip(texts, old(texts)["input_ids"], new(texts)["input_ids"], strict=True)
    return [text for text, was, found in ids if [row.get(i) for i in was] == found]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def update(path: Path, **content: Any) -> None:
    path.write_text(json.dumps(read(path) | content), encoding="utf-8")


@pytest.fixture(scope="module")
def workshops(tmp_path_factory) -> Callable[[str], Workshop]:
    made: dict[str, Workshop] = {}

    def get(kind: str) -> Workshop:
        if kind not in made:
            made[kind] = make_workshop(tmp_path_factory.mktemp(kind), kind)
            made[kind].clone()
        return made[kind]

    return get


@pytest.fixture(params=TEACHERS)
def workshop(request, workshops) -> Workshop:
    return workshops(request.param)


# -- what is promised -------------------------------------------------------------------------------------------------


def test_text_of_kept_tokens_has_the_teachers_vector(workshop):
    texts = kept_texts(workshop)
    assert len(texts) > 20
    teacher, clone = (
        SentenceTransformer(str(folder), device="cpu").encode(texts)
        for folder in (workshop.teacher, workshop.root / "clone")
    )
    np.testing.assert_allclose(clone, teacher, rtol=1e-5, atol=1e-6)


def test_all_tensors_but_the_embeddings_are_identical(workshop):
    teacher, clone = (load_file(folder / WEIGHTS) for folder in (workshop.teacher, workshop.root / "clone"))
    name = embedding(teacher)
    assert teacher.keys() == clone.keys()
    assert all(torch.equal(teacher[key], clone[key]) for key in teacher if key != name)
    assert clone[name].shape == (len(workshop.layout), teacher[name].shape[1])
    elsewhere = sum(len(stored_tensors(f)) for f in workshop.teacher.rglob(WEIGHTS) if f.parent != workshop.teacher)
    assert read_manifest(workshop.root / "clone", "clone").facts["identical_tensors"] == len(teacher) - 1 + elsewhere


def test_kept_rows_are_copies_and_new_rows_the_mean_of_the_teachers_pieces(workshop):
    layout, teacher = workshop.layout, workshop.table(workshop.teacher)
    clone = workshop.table(workshop.root / "clone")
    pieces = segment(workshop.family.spec, [layout.tokens[row] for row in workshop.new])
    for row, ids in zip(workshop.new, pieces, strict=True):
        torch.testing.assert_close(clone[row], teacher[list(ids)].double().mean(dim=0).float())
    for row, (token, old) in enumerate(zip(layout.tokens, layout.teacher_ids.tolist(), strict=True)):
        if 0 <= old < len(teacher):
            assert torch.equal(clone[row], teacher[old])
        elif token not in layout.grafts:
            assert not clone[row].any()


def test_the_mapping_tells_how_the_table_was_made(workshop):
    table, manifest = read_table(workshop.root / "clone" / MAPPING_NAME, "mapping", MAPPING)
    teacher, clone = workshop.table(workshop.teacher), workshop.table(workshop.root / "clone")
    for row in table.to_pylist():
        made = sum((w * teacher[i] for i, w in zip(row["teacher_ids"], row["weights"], strict=True)), torch.zeros(1))
        torch.testing.assert_close(clone[row["new_id"]], made.expand(clone.shape[1]))
    new = [row for first, last in manifest.facts["new_rows"] for row in range(first, last + 1)]
    assert new == workshop.new


def test_every_id_in_the_configuration_still_means_its_token(workshop):
    old, new = (read(folder / "config.json") for folder in (workshop.teacher, workshop.root / "clone"))
    tokens = workshop.family.tokens
    ids = [key for key in old if key.endswith("_token_id") and old[key] is not None and old[key] < len(tokens)]
    assert ids
    for key in ids:
        expected = tokens[old[key]] if tokens[old[key]] in workshop.layout.tokens else None
        assert new[key] == (None if expected is None else workshop.layout.tokens.index(expected)), key
    assert new["vocab_size"] == len(workshop.layout)
    ids = [key for key in old if not (key.endswith("_token_id") or key == "vocab_size")]
    assert {key: new[key] for key in ids} == {key: old[key] for key in ids}


def test_the_facts_say_what_was_gained(workshop):
    facts = read_manifest(workshop.root / "clone", "clone").facts
    dropped = facts["rows"]["before"] - facts["rows"]["after"]
    width = workshop.table(workshop.teacher).shape[1]
    assert facts["parameters"]["before"] - facts["parameters"]["after"] == dropped * width
    assert facts["new"]["rows"] == len(workshop.new)
    assert facts["compared_texts"] > 0
    norms = workshop.table(workshop.root / "clone")[workshop.new].norm(dim=1)
    assert facts["new"]["mean_norm"] == pytest.approx(float(norms.mean()), abs=1e-5)


def test_a_rerun_gives_the_same_bytes(workshop):
    first = (workshop.root / "clone" / MANIFEST_NAME).read_bytes()
    assert (workshop.clone("again") / MANIFEST_NAME).read_bytes() == first


def test_new_text_is_read_with_the_new_tokens(workshop):
    model = SentenceTransformer(str(workshop.root / "clone"), device="cpu")
    ids = model.tokenizer(list(TARGET))["input_ids"]
    assert set(workshop.new) & {i for row in ids for i in row}
    assert np.isfinite(model.encode(list(TARGET))).all()


# -- methods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["length-weighted", "norm-matched", "similarity", "random"])
def test_every_method_changes_the_new_rows_alone(workshops, method):
    workshop = workshops("bert")
    mean, other = workshop.table(workshop.root / "clone"), workshop.table(workshop.clone(method, method=method))
    differ = set((mean != other).any(dim=1).nonzero().flatten().tolist())
    assert differ <= set(workshop.new)
    assert len(differ) > len(workshop.new) / 2


def test_norm_matched_rows_are_as_long_as_ordinary_kept_ones(workshops):
    workshop = workshops("bert")
    table = workshop.table(workshop.clone("matched", method="norm-matched"))
    special = set(workshop.family.special_ids().tolist())
    kept = [n for n, old in enumerate(workshop.layout.teacher_ids.tolist()) if old >= 0 and old not in special]
    target = table[kept].norm(dim=1).mean()
    torch.testing.assert_close(table[workshop.new].norm(dim=1), target.expand(len(workshop.new)))


def test_random_rows_follow_the_seed(workshops):
    workshop = workshops("bert")
    one, same, other = (
        workshop.table(workshop.clone(name, seed, method="random")) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert torch.equal(one, same)
    assert not torch.equal(one[workshop.new], other[workshop.new])


# -- what teachers look like ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half_precision(tmp_path, dtype):
    def halve(teacher: Path) -> None:
        tensors = {name: tensor.to(dtype) for name, tensor in load_file(teacher / WEIGHTS).items()}
        save_file(tensors, teacher / WEIGHTS, {"format": "pt"})

    workshop = make_workshop(tmp_path, "xlmr", halve)
    teacher, clone = workshop.table(workshop.teacher), workshop.table(workshop.clone())
    assert clone.dtype == dtype
    kept = workshop.layout.teacher_ids >= 0
    old = torch.from_numpy(workshop.layout.teacher_ids[kept].astype(np.int64))
    assert torch.equal(clone[torch.from_numpy(kept)], teacher[old])


def test_output_heads_are_made_like_the_embeddings(tmp_path):
    def add_head(teacher: Path) -> None:
        tensors = load_file(teacher / WEIGHTS)
        table = tensors[embedding(tensors)]
        head = {"cls.predictions.decoder.weight": 2 * table, "cls.predictions.bias": table[:, 0].clone()}
        save_file(tensors | head, teacher / WEIGHTS, {"format": "pt"})

    workshop = make_workshop(tmp_path, "bert", add_head)
    clone = load_file(workshop.clone() / WEIGHTS)
    table = clone[embedding(clone)]
    torch.testing.assert_close(clone["cls.predictions.decoder.weight"], 2 * table)
    torch.testing.assert_close(clone["cls.predictions.bias"], table[:, 0])


def test_a_sharded_teacher_gives_a_sharded_clone(tmp_path):
    def shard(teacher: Path) -> None:
        tensors = load_file(teacher / WEIGHTS)
        (teacher / WEIGHTS).unlink()
        names = sorted(tensors)
        files = {f"model-0000{n + 1}-of-00002.safetensors": names[n::2] for n in range(2)}
        for file, mine in files.items():
            save_file({name: tensors[name] for name in mine}, teacher / file, {"format": "pt"})
        total = {"total_size": sum(t.nbytes for t in tensors.values())}
        index = {"metadata": total, "weight_map": {name: file for file, mine in files.items() for name in mine}}
        (teacher / "model.safetensors.index.json").write_text(json.dumps(index))

    workshop = make_workshop(tmp_path, "bert", shard)
    clone = workshop.clone()
    texts = kept_texts(workshop)
    teacher_vectors, vectors = (
        SentenceTransformer(str(folder), device="cpu").encode(texts) for folder in (workshop.teacher, clone)
    )
    np.testing.assert_allclose(vectors, teacher_vectors, rtol=1e-5, atol=1e-6)
    before, after = (read(folder / "model.safetensors.index.json") for folder in (workshop.teacher, clone))
    sizes = [tensor.size for file in clone.glob("*.safetensors") for tensor in stored_tensors(file)]
    assert after["metadata"]["total_size"] == sum(sizes) < before["metadata"]["total_size"]
    assert after["weight_map"] == before["weight_map"]


def test_ids_are_put_right_at_any_depth_and_dropped_ones_become_null(tmp_path, caplog):
    def name_ids(teacher: Path) -> None:
        rows = read(teacher / "config.json")["vocab_size"]
        update(
            teacher / "config.json",
            text_config={"vocab_size": rows, "mask_token_id": 9, "hidden_size": 32, "max_position_embeddings": 128},
            vision_config={"vocab_size": rows, "bos_token_id": 5},
            decoder_start_token_id=10,
            image_token_index=1,
        )
        generation = {"eos_token_id": [8, 1], "suppress_tokens": [6, 8], "max_new_tokens": 8}
        (teacher / "generation_config.json").write_text(json.dumps(generation))

    workshop = make_workshop(tmp_path, "bert", name_ids)
    new = {int(old): row for row, old in enumerate(workshop.layout.teacher_ids) if old >= 0}
    assert {1, 5} - new.keys() == {1, 5}, "slots are not kept"
    clone = workshop.clone()
    config, generation = read(clone / "config.json"), read(clone / "generation_config.json")
    assert config["text_config"]["vocab_size"] == len(workshop.layout)
    assert config["text_config"]["mask_token_id"] == new[9]
    assert config["decoder_start_token_id"] == new.get(10)
    assert config["image_token_index"] is None
    assert config["vision_config"] == {"vocab_size": len(workshop.family.tokens), "bos_token_id": 5}
    assert generation == {"eos_token_id": [new[8]], "suppress_tokens": [new[6], new[8]], "max_new_tokens": 8}
    assert "image_token_index referred to token 1" in caplog.text


def test_no_file_of_the_old_tokenizer_and_no_model_card_stays(tmp_path):
    def litter(teacher: Path) -> None:
        for name in ("merges.txt", "spiece.model", "README.md"):
            (teacher / name).write_text("of the teacher")
        (teacher / "LICENSE").write_text("of the teacher")

    workshop = make_workshop(tmp_path, "bert", litter)
    clone = workshop.clone()
    assert not {"spiece.model", "README.md", "certificate.json"} & {path.name for path in clone.iterdir()}
    assert (clone / "LICENSE").read_text() == "of the teacher"
    for name in ("tokenizer.json", "vocab.txt"):
        assert (clone / name).read_bytes() == (workshop.root / "tokenizer" / name).read_bytes()


# -- where vocabularies are -------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
ARCHITECTURES = {
    "bert": (AutoModelForMaskedLM, BertConfig(**SMALL)),
    "bert-untied": (AutoModelForMaskedLM, BertConfig(**SMALL, tie_word_embeddings=False)),
    "xlm-roberta": (AutoModelForMaskedLM, XLMRobertaConfig(**SMALL)),
    "xlm-roberta-untied": (AutoModelForMaskedLM, XLMRobertaConfig(**SMALL, tie_word_embeddings=False)),
    "mpnet": (AutoModelForMaskedLM, MPNetConfig(**SMALL)),
    "modernbert-untied": (AutoModelForMaskedLM, ModernBertConfig(**SMALL, pad_token_id=0, tie_word_embeddings=False)),
    "distilbert": (
        AutoModelForMaskedLM,
        DistilBertConfig(vocab_size=300, dim=16, n_layers=2, n_heads=2, hidden_dim=24, tie_word_embeddings=False),
    ),
    "gemma3": (AutoModelForCausalLM, Gemma3TextConfig(**SMALL, num_key_value_heads=1, head_dim=8, pad_token_id=0)),
    "qwen3-untied": (
        AutoModelForCausalLM,
        Qwen3Config(**SMALL, num_key_value_heads=1, head_dim=8, tie_word_embeddings=False),
    ),
    "gpt2": (AutoModelForCausalLM, GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=40)),
}


def save_as_teacher(folder: Path, model: Any) -> Path:
    """A model as it might lie in a sentence-transformers folder, with just what is read of one."""
    model.save_pretrained(folder)
    modules = [{"path": "", "type": "models.Transformer"}, {"path": "1_Pooling", "type": "models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 32}))
    config = read(folder / "config.json")
    update(folder / "config.json", hidden_size=16, vocab_size=config["vocab_size"])
    return folder


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_tensors_with_a_row_per_token_are_those_of_the_model_itself(tmp_path, name):
    auto, config = ARCHITECTURES[name]
    model = auto.from_config(config)
    folder = save_as_teacher(tmp_path / "model", model)
    stored = {tensor.name for tensor in stored_tensors(folder / WEIGHTS)}
    table = model.get_input_embeddings().weight
    mine = {key for key, value in model.state_dict().items() if value.data_ptr() == table.data_ptr()}
    found = find_vocabulary_tensors(folder)
    assert {found.embedding} == mine & stored
    long = {key for key, value in model.state_dict().items() if value.shape[:1] == (300,)}
    assert found.files.keys() == long & stored


def test_a_tensor_that_may_or_may_not_belong_to_tokens_is_refused(tmp_path):
    def add(teacher: Path) -> None:
        tensors = load_file(teacher / WEIGHTS)
        rows = len(tensors[embedding(tensors)])
        save_file(tensors | {"adapter.weight": torch.zeros(rows, 4)}, teacher / WEIGHTS, {"format": "pt"})

    workshop = make_workshop(tmp_path, "bert", add)
    with pytest.raises(LangtailorError, match=r"adapter\.weight has a row per token"):
        workshop.clone()
    assert not (tmp_path / "clone").exists()


def test_two_tables_of_input_embeddings_are_refused(tmp_path):
    model = T5EncoderModel(T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2))
    folder = save_as_teacher(tmp_path / "model", model)
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {"encoder.embed_tokens.weight": tensors["shared.weight"].clone()}, folder / WEIGHTS)
    with pytest.raises(LangtailorError, match="expected one tensor of input embeddings with 300 rows"):
        find_vocabulary_tensors(folder)


def test_a_quantised_table_is_refused(tmp_path):
    def quantise(teacher: Path) -> None:
        tensors = load_file(teacher / WEIGHTS)
        name = embedding(tensors)
        save_file(tensors | {name: tensors[name].to(torch.int8)}, teacher / WEIGHTS, {"format": "pt"})

    workshop = make_workshop(tmp_path, "bert", quantise)
    with pytest.raises(LangtailorError, match="stored as I8"):
        workshop.clone()


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_model_that_hangs_on_its_ids_is_refused_by_its_vectors(tmp_path):
    workshop = make_workshop(tmp_path, "xlmr")
    layout = workshop.layout
    # XLM-R counts positions from the id of <pad>: moved, it moves every position.
    order = np.array([0, *range(2, 9), 1, *range(9, len(layout))])
    moved = Layout(tuple(layout.tokens[i] for i in order), layout.teacher_ids[order], layout.grafts, layout.padding)
    workshop = furnish(tmp_path, moved)
    with pytest.raises(LangtailorError, match="vectors differ from the teacher's"):
        workshop.clone()
    assert not (tmp_path / "clone").exists()


def test_inputs_that_do_not_belong_together_are_refused(tmp_path):
    workshop = make_workshop(tmp_path, "bert")
    table, _ = read_table(tmp_path / "vocabulary.parquet", "vocabulary", VOCABULARY)
    write_table(tmp_path / "vocabulary.parquet", table, Manifest("vocabulary", made_by={"size": 1}))
    with pytest.raises(ArtifactError, match=r"tokenizer: was not written from .*vocabulary\.parquet"):
        workshop.clone()


def test_a_damaged_teacher_is_refused(tmp_path):
    workshop = make_workshop(tmp_path, "bert")
    with (workshop.teacher / WEIGHTS).open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    with pytest.raises(ArtifactError, match="checksum"):
        workshop.clone()
