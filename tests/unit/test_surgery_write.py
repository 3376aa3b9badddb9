"""Writing a tokenizer: every file that names a token or an id is there, agrees, and opens in transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from langtailor.errors import ArtifactError, CertificateError, UnsupportedTokenizerError
from langtailor.storage.artifacts import Manifest, directory_digest, read_json, read_manifest, seal_directory
from langtailor.storage.digests import sha256_file
from langtailor.storage.tables import CORPUS, VOCABULARY, write_table
from langtailor.surgery.base import Family, Graft, Layout, Origin
from langtailor.surgery.registry import load_family
from langtailor.surgery.unknowns import needed_to_stay_known
from langtailor.surgery.word_models import model_of
from langtailor.tokenizer.write import write_tokenizer
from langtailor.vocabulary.table import layout_to_table, table_to_layout
from tests.models import add_tiny_model
from tests.unit.surgery_teachers import (
    TARGET,
    TEXTS,
    write_byte_fallback,
    write_byte_level,
    write_json,
    write_unigram,
    write_wordpiece,
)

TEACHERS: dict[str, Callable[[Path], Path]] = {
    "wordpiece": write_wordpiece,
    "unigram": write_unigram,
    "byte-level": write_byte_level,
    "byte-fallback": write_byte_fallback,
}
#: What belongs to the model and not to its tokenizer.
MODEL = {
    "config.json", "model.safetensors", "modules.json", "1_Pooling", "sentence_bert_config.json",
    "config_sentence_transformers.json",
}  # fmt: skip
FILES = {
    "wordpiece": {"vocab.txt"},
    "unigram": {"sentencepiece.bpe.model"},
    "byte-fallback": {"tokenizer.model"},
    "byte-level": {"vocab.json", "merges.txt", "added_tokens.json", "chat_template.jinja"},
}


class Workshop:
    """A teacher, a chosen vocabulary and two small corpora, as the workflow lays them out."""

    def __init__(self, root: Path, teacher: str, grafts: int = 40) -> None:
        self.teacher, self.out = add_tiny_model(TEACHERS[teacher](root / "teacher")), root / "tokenizer"
        seal_directory(self.teacher, Manifest("teacher"))
        self.corpora = {
            lang: self._corpus(root / f"{lang}.parquet", texts) for lang, texts in (("en", TEXTS), ("tr", TARGET))
        }
        self.family = load_family(self.teacher)
        self.layout = choose(self.family, grafts)
        self.vocabulary = root / "vocabulary.parquet"
        self.choose(self.layout)

    def _corpus(self, path: Path, texts: tuple[str, ...]) -> Path:
        rows = [{"id": str(i), "lang": path.stem, "text": t, "split": "validation"} for i, t in enumerate(texts)]
        rows.append({"id": "last", "lang": path.stem, "text": "囍", "split": "train"})
        write_table(path, pa.Table.from_pylist(rows, schema=CORPUS), Manifest("corpus"))
        return path

    def choose(self, layout: Layout) -> None:
        origins = [origin(layout, token) for token in layout.tokens]
        table = layout_to_table(layout, np.arange(len(layout)), origins, ["tested"] * len(layout))
        write_table(self.vocabulary, table, Manifest("vocabulary"))

    def write(self) -> Path:
        write_tokenizer(self.teacher, self.vocabulary, self.corpora, ["tr"], self.out)
        return self.out

    def read(self, name: str) -> Any:
        return json.loads((self.out / name).read_text(encoding="utf-8"))


def origin(layout: Layout, token: str) -> Origin:
    graft = layout.grafts.get(token)
    return "padding" if token in layout.padding else "corpus" if graft is None else graft.origin


def choose(family: Family, grafts: int) -> Layout:
    """Two thirds of the teacher's tokens, what they and the text need, grafts and padding."""
    chosen = np.random.default_rng(0).random(len(family.tokens)) < 0.66
    chosen[family.placeholder_ids()] = False
    kept = np.union1d(np.flatnonzero(chosen), [*family.special_ids(), *family.alphabet_ids()])
    kept = np.union1d(kept, [i for k in kept.tolist() for i in family.requirements(k)]).astype(np.int32)
    kept = np.union1d(kept, needed_to_stay_known(family, kept, family.words(TEXTS + TARGET))).astype(np.int32)
    return family.layout(kept, family.propose_grafts(kept, family.words(TARGET), grafts, 2, None), 3)


@pytest.fixture(params=TEACHERS)
def workshop(request: pytest.FixtureRequest, tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, request.param)


# -- the folder --------------------------------------------------------------------------------------------------------


def test_the_folder_is_complete_sealed_and_says_what_it_was_made_of(workshop: Workshop) -> None:
    out = workshop.write()
    manifest = read_manifest(out, "tokenizer")
    assert manifest.inputs["vocabulary"] == sha256_file(workshop.vocabulary)
    assert manifest.inputs["teacher"] == directory_digest(workshop.teacher)
    assert manifest.facts["size"] == len(workshop.layout)
    assert manifest.facts["grafted"] == len(workshop.layout.grafts) > 10
    assert "certificate.json" in manifest.files
    assert read_json(out / "certificate.json", "certificate")["size"] == len(workshop.layout)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_every_file_that_the_teacher_has_is_written_anew(teacher: str, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, teacher)
    files = {path.name for path in workshop.write().iterdir()}
    assert FILES[teacher] <= files
    assert files - {"certificate.json"} == {path.name for path in workshop.teacher.iterdir()} - MODEL


def test_the_same_inputs_give_the_same_bytes(workshop: Workshop) -> None:
    first = {path.name: path.read_bytes() for path in workshop.write().iterdir()}
    second = {path.name: path.read_bytes() for path in workshop.write().iterdir()}
    assert first == second


def test_transformers_opens_it_and_sees_the_new_ids(workshop: Workshop) -> None:
    tokenizer = AutoTokenizer.from_pretrained(workshop.write(), local_files_only=True)
    teacher = AutoTokenizer.from_pretrained(workshop.teacher, local_files_only=True)
    assert len(tokenizer) == len(workshop.layout)
    assert tokenizer.get_vocab() == workshop.layout.new_id
    assert tokenizer.special_tokens_map == teacher.special_tokens_map | tokenizer.special_tokens_map
    assert tokenizer.pad_token == teacher.pad_token
    for text in TEXTS:
        old, new = (t.convert_ids_to_tokens(t(text)["input_ids"]) for t in (teacher, tokenizer))
        assert (old[0], old[-1]) == (new[0], new[-1]) or "<|end|>" == old[-1] == new[-1]


def test_special_ids_follow_in_every_file(workshop: Workshop) -> None:
    workshop.write()
    new_id = workshop.layout.new_id
    spec, config = workshop.read("tokenizer.json"), workshop.read("tokenizer_config.json")
    assert {entry["content"]: entry["id"] for entry in spec["added_tokens"]}.items() <= new_id.items()
    templates = spec["post_processor"]["special_tokens"].values()
    assert templates
    assert all(entry["ids"] == [new_id[token] for token in entry["tokens"]] for entry in templates)
    if padding := spec["padding"]:
        assert padding["pad_id"] == new_id[padding["pad_token"]]
    for token_id, entry in config.get("added_tokens_decoder", {}).items():
        assert new_id[entry["content"]] == int(token_id)


def test_other_keys_of_the_config_stay(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, "wordpiece")
    workshop.write()
    old = json.loads((workshop.teacher / "tokenizer_config.json").read_text())
    new = workshop.read("tokenizer_config.json")
    assert {k: v for k, v in new.items() if k != "added_tokens_decoder"} == {
        k: v for k, v in old.items() if k != "added_tokens_decoder"
    }
    assert len(new["added_tokens_decoder"]) == 5


def test_tokens_that_were_dropped_are_named_nowhere(tmp_path: Path) -> None:
    """transformers appends a named token that it misses, with an id past the end of the embedding table."""
    workshop = Workshop(tmp_path, "byte-level")
    assert "<|image_3|>" not in workshop.layout.tokens
    workshop.write()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        assert "image_3" not in json.dumps(workshop.read(name))
    assert workshop.read("special_tokens_map.json")["additional_special_tokens"] == ["<|end|>"]
    assert (workshop.out / "chat_template.jinja").read_text() == "{{ messages }}"


def test_merges_and_vocabulary_repeat_what_tokenizer_json_says(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, "byte-level")
    model = json.loads((workshop.write() / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    lines = (workshop.out / "merges.txt").read_text(encoding="utf-8").splitlines()
    assert workshop.read("vocab.json") == model["vocab"]
    assert [line.split(" ") for line in lines[1:]] == [list(merge) for merge in model["merges"]]


def test_an_added_token_outside_the_model_keeps_its_place_at_the_end(tmp_path: Path) -> None:
    """`tokenizers` numbers such tokens from the model's size on, whatever the file says."""
    folder = write_wordpiece(tmp_path / "plain")
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    size = len(spec["model"]["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    spec["added_tokens"] += [
        {"id": size, "content": "<code>", **flags},
        {"id": size + 1, "content": "</code>", **flags},
    ]
    write_wordpiece(folder, spec=json.dumps(spec))
    layout = choose(family := load_family(folder), 10)
    assert layout.tokens[-2:] == ("<code>", "</code>")
    new = family.write(layout)
    assert "<code>" not in new.tokenizer["model"]["vocab"]
    assert len(new.others["vocab.txt"].decode().splitlines()) == len(layout) - 2


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_vocabulary_of_another_teacher_is_refused(tmp_path: Path) -> None:
    workshop, other = Workshop(tmp_path / "one", "wordpiece"), Workshop(tmp_path / "other", "unigram")
    with pytest.raises(ArtifactError, match="which the teacher does not"):
        write_tokenizer(workshop.teacher, other.vocabulary, workshop.corpora, ["tr"], workshop.out)


def test_nothing_is_left_when_the_certificate_fails(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, "wordpiece")
    kept = np.setdiff1d(workshop.layout.teacher_ids, [-1, workshop.family.tokens.index("木")]).astype(np.int32)
    workshop.choose(workshop.family.layout(kept, [], 0))
    with pytest.raises(CertificateError, match=r"en: .*keep_tokens`: \['木'\]"):
        workshop.write()
    assert not workshop.out.exists()
    assert not list(tmp_path.glob(".tokenizer*"))


def test_a_teacher_without_a_fast_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedTokenizerError, match=r"no fast tokenizer; supported are BPE .* WordPiece"):
        load_family(tmp_path)


@pytest.mark.parametrize("model", [{"type": "WordLevel", "vocab": {}, "unk_token": ""}, {}])
def test_a_tokenizer_of_no_family_is_refused_by_name(model: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "tokenizer.json", {"model": model})
    with pytest.raises(UnsupportedTokenizerError, match=rf"tokenizer.json: .*{model.get('type')}.*supported are"):
        load_family(tmp_path)


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_a_broken_tokenizer_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: "):
        load_family(tmp_path)


def test_a_tokenizer_model_of_tiktoken_is_no_sentencepiece_file(tmp_path: Path) -> None:
    folder = write_byte_level(tmp_path)
    (folder / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    family = load_family(folder)
    assert family.name == "byte-level BPE"
    assert not family.write(choose(family, 5)).others


def test_the_model_of_a_spec_reads_one_word(tmp_path: Path) -> None:
    spec = json.loads((write_wordpiece(tmp_path) / "tokenizer.json").read_text(encoding="utf-8"))
    assert [token.id for token in model_of(spec).tokenize("ı")] == [spec["model"]["vocab"]["ı"]]


# -- the table ---------------------------------------------------------------------------------------------------------


TOKENS = st.lists(st.text(min_size=1, max_size=4), unique=True, min_size=1, max_size=12)


@given(tokens=TOKENS, data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_layout_survives_the_table(tokens: list[str], data: st.DataObject) -> None:
    kinds = data.draw(
        st.lists(st.sampled_from(["kept", "graft", "padding"]), min_size=len(tokens), max_size=len(tokens))
    )
    grafts = {
        token: Graft(
            token,
            data.draw(st.integers(0, 10**12)),
            data.draw(st.none() | st.tuples(st.text(max_size=2), st.text(max_size=2))),
            data.draw(st.none() | st.floats(-99, 0)),
            data.draw(st.sampled_from(["target-language", "closure"])),
        )
        for token, kind in zip(tokens, kinds, strict=True)
        if kind == "graft"
    }
    ids = np.array([3 * i if kind == "kept" else -1 for i, kind in enumerate(kinds)], np.int32)
    padding = frozenset(token for token, kind in zip(tokens, kinds, strict=True) if kind == "padding")
    layout = Layout(tuple(tokens), ids, grafts, padding)
    counts = [grafts[token].count if token in grafts else 7 for token in tokens]
    table = layout_to_table(layout, counts, [origin(layout, token) for token in tokens], [""] * len(tokens))
    again = table_to_layout(table)
    assert table.schema.equals(VOCABULARY)
    assert (again.tokens, again.grafts, again.padding) == (layout.tokens, layout.grafts, layout.padding)
    assert again.teacher_ids.tolist() == ids.tolist() and again.teacher_ids.dtype == np.int32


def test_a_table_with_gaps_or_repeated_tokens_is_refused() -> None:
    layout = Layout(("a", "b", "c"), np.array([0, 1, 2], np.int32))
    table = layout_to_table(layout, [1, 1, 1], ["corpus"] * 3, [""] * 3)
    for broken in (table.slice(1), table.take([1, 0, 2]), pa.concat_tables([table, table.slice(0, 1)])):
        with pytest.raises(CertificateError, match="vocabulary"):
            table_to_layout(broken)
    with pytest.raises(ValueError, match="padding"):
        layout_to_table(layout, [1, 1, 1], ["padding", "corpus", "corpus"], [""] * 3)
