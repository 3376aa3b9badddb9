"""Stored vectors: what the teacher gives, mapped without a copy, and tied to the passages that it read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import Shard
from langtailor.corpus.reading import read_corpus
from langtailor.errors import ArtifactError, LangtailorError
from langtailor.models import encoder
from langtailor.storage.artifacts import Manifest, seal_directory
from langtailor.storage.tables import CORPUS, write_table
from langtailor.vectors import encode as encode_module
from langtailor.vectors.encode import encode_shards
from langtailor.vectors.store import VectorShard, VectorStore, text_digest, write_shard
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher
from tests.unit.surgery_teachers import TEXTS

#: Passages per split, in the corpus's order.
SPLITS = {"train": 30, "validation": 7, "test": 6}
WORDS = " ".join(TEXTS).split()


def write_corpus(path: Path, texts: list[str] | None = None, pairs: list[str | None] | None = None) -> Path:
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    texts = texts or [" ".join(WORDS[i : i + 3 + i % 9]) for i in range(len(splits))]
    columns = {
        "id": [f"d{i}#0" for i in range(len(splits))],
        "lang": ["tr"] * len(splits),
        "text": texts,
        "split": splits,
        "pair": pairs or [None] * len(splits),
    }
    table = pa.table([pa.array(columns[f.name], f.type) for f in CORPUS], schema=CORPUS)
    write_table(path, table, Manifest("corpus", facts={"passages": SPLITS}))
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    folder = make_tiny_bert_teacher(tmp_path_factory.mktemp("bert") / "teacher")
    seal_directory(folder, Manifest("teacher", inputs={"commit": "c0ffee"}))
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tr.parquet")


def encode(
    corpus: Path,
    teacher: Path,
    out: Path,
    shard: int = 0,
    passages: int = 16,
    cache: Path | None = None,
    batch_tokens: int = 256,
    splits: Sequence[str] = tuple(SPLITS),
    **how: Any,
) -> Path:
    """The file of one shard of Turkish, made by a job of its own in the folder ``out``."""
    planned = Shard("tr", shard, shard * passages, passages, passages)
    settings = TeacherSettings(model="tiny", **how)
    encode_shards([planned], {"tr": corpus}, teacher, settings, batch_tokens, "cpu", out, cache, splits)
    return out / f"{planned.name}.arrow"


@pytest.fixture(scope="module")
def shards(teacher, corpus, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    return [encode(corpus, teacher, folder / str(shard), shard) for shard in range(3)]


def given_by(teacher: Path, texts: list[str], **how: Any) -> np.ndarray:
    return SentenceTransformer(str(teacher), device="cpu").encode(texts, **how)


# -- what is stored ---------------------------------------------------------------------------------------------------


def test_the_store_holds_the_teachers_vectors_in_corpus_order(shards, teacher, corpus):
    passages = read_corpus(corpus)
    store = VectorStore.open(shards)
    expected = given_by(teacher, passages["text"].to_pylist())
    found = store.take(np.arange(len(store)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)
    cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert (cosines > 0.9999).all()
    store.check_ids(passages["id"])
    store.check_texts(passages)


def test_a_shard_says_what_made_it(shards, teacher):
    shard = VectorShard.open(shards[0])
    assert shard.manifest.made_by["pooling"] == "mean_tokens"
    assert shard.manifest.made_by["max_length"] == 128
    assert shard.manifest.inputs["commit"] == "c0ffee"
    facts = shard.manifest.facts
    assert (facts["rows"], facts["dimension"]) == (16, 32)
    assert facts["tokens"] > 16 * 4
    assert 0 <= facts["padding_share"] < 0.3


def test_a_shard_of_some_splits_holds_their_passages_alone(shards, teacher, corpus, tmp_path):
    some = [encode(corpus, teacher, tmp_path / str(shard), shard, splits=["test"]) for shard in range(3)]
    whole, part = VectorStore.open(shards, "test"), VectorStore.open(some)
    assert len(part) == len(whole) == SPLITS["test"]
    rows = np.arange(len(part))
    np.testing.assert_allclose(part.take(rows), whole.take(rows), atol=1e-3)
    part.check_ids(read_corpus(corpus, "test")["id"])


def test_a_split_is_read_across_shards(shards, corpus):
    whole = VectorStore.open(shards)
    start = 0
    for split, count in SPLITS.items():
        store = VectorStore.open(shards, split)
        np.testing.assert_array_equal(store.take(np.arange(count)), whole.take(np.arange(start, start + count)))
        store.check_ids(read_corpus(corpus, split)["id"])
        start += count


def test_a_rerun_gives_the_same_bytes(shards, teacher, corpus, tmp_path):
    again = encode(corpus, teacher, tmp_path / "again", 1)
    assert again.read_bytes() == shards[1].read_bytes()


class Encoders:
    """Counts the encoders that were made: one for each shard that was computed."""

    made = 0

    def __init__(self, real: type) -> None:
        self.real = real

    def __call__(self, *arguments: Any) -> Any:
        self.made += 1
        return self.real(*arguments)


@pytest.fixture
def encoders(monkeypatch) -> Encoders:
    counted = Encoders(encoder.Encoder)
    monkeypatch.setattr(encoder, "Encoder", counted)
    return counted


def test_a_cached_shard_is_reused_when_its_passages_are_the_same(teacher, corpus, tmp_path, encoders):
    out, cache = tmp_path / "0", tmp_path / "cache"
    before = encode(corpus, teacher, out, cache=cache).read_bytes()
    assert encoders.made == 1
    shutil.rmtree(out)
    again = encode(corpus, teacher, out, cache=cache)
    assert again.read_bytes() == before
    assert encoders.made == 1
    assert again.stat().st_nlink == 2, "a cached shard takes no space of its own"


@pytest.mark.parametrize("how", ["text", "settings", "batch", "damage", "code"])
def test_a_cached_shard_is_not_taken_for_another(teacher, corpus, tmp_path, encoders, monkeypatch, how):
    out, cache = tmp_path / "0", tmp_path / "cache"
    encode(corpus, teacher, out, cache=cache)
    shutil.rmtree(out)
    changes: dict[str, Any] = {}
    match how:
        case "text":
            texts = read_corpus(corpus)["text"].to_pylist()
            corpus = write_corpus(tmp_path / "tr.parquet", [texts[0] + ".", *texts[1:]])
        case "settings":
            changes = {"max_length": 16}
        case "batch":
            changes = {"batch_tokens": 128}
        case "damage":
            (file,) = (cache / "tr").iterdir()
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(data)
        case "code":
            monkeypatch.setattr(encode_module, "module_digest", lambda module: "another")
    path = encode(corpus, teacher, out, cache=cache, **changes)
    assert encoders.made == 2
    VectorShard.open(path)
    (file,) = (cache / "tr").iterdir()
    assert file.samefile(path), "only the last shard of a number is cached"


def test_the_shards_of_a_language_are_cached_side_by_side(teacher, corpus, tmp_path, encoders):
    for attempt in ("first", "second"):
        paths = [
            encode(corpus, teacher, tmp_path / f"{attempt}-{shard}", shard, cache=tmp_path / "cache")
            for shard in range(2)
        ]
    assert encoders.made == 2
    assert all(path.stat().st_nlink == 3 for path in paths)


# -- many shards in one job -------------------------------------------------------------------------------------------


def job(corpora: dict[str, Path], teacher: Path, out: Path, cache: Path | None = None) -> list[Path]:
    """The files of the first shards of some languages, made by one job that reads pairs."""
    planned = [Shard(lang, 0, 0, 100, 100) for lang in corpora]
    settings = TeacherSettings(model="tiny", reads="pair")
    encode_shards(planned, corpora, teacher, settings, 256, "cpu", out, cache)
    return [out / f"{shard.name}.arrow" for shard in planned]


@pytest.fixture
def parallel(tmp_path) -> dict[str, Path]:
    """Corpora of three languages: that of English is what those of the others are aligned to, but for one text."""
    english = [" ".join(WORDS[i : i + 4]) for i in range(sum(SPLITS.values()))]
    pairs = [*english[:-1], "only here"]
    corpora = {"en": write_corpus(tmp_path / "en.parquet", english)}
    return corpora | {lang: write_corpus(tmp_path / f"{lang}.parquet", None, pairs) for lang in ("es", "tr")}


def test_a_text_that_several_languages_are_aligned_to_is_encoded_once(teacher, parallel, tmp_path):
    shards = [VectorShard.open(path) for path in job(parallel, teacher, tmp_path / "out")]
    tokens = [shard.manifest.facts["tokens"] for shard in shards]
    assert tokens[0] > 100
    assert 0 < tokens[1] < 10, "one text is new"
    assert tokens[2] == 0
    for shard in shards[1:]:
        np.testing.assert_array_equal(shard.vectors[:-1], shards[0].vectors[:-1])
    np.testing.assert_allclose(shards[2].vectors[-1].astype(np.float32), given_by(teacher, ["only here"])[0], atol=1e-3)


def test_a_killed_job_goes_on_with_the_shards_that_it_has(teacher, parallel, tmp_path, encoders, monkeypatch):
    expected = [path.read_bytes() for path in job(parallel, teacher, tmp_path / "expected")]
    made, real = encoders.made, encode_module.write_shard

    def killed(path: Path, *content: Any) -> None:
        if path.parent.name == "es":
            raise KeyboardInterrupt
        real(path, *content)

    with monkeypatch.context() as patched:
        patched.setattr(encode_module, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            job(parallel, teacher, tmp_path / "out", tmp_path / "cache")
    assert not (tmp_path / "out").exists()
    encoders.made = 0
    assert [path.read_bytes() for path in job(parallel, teacher, tmp_path / "out", tmp_path / "cache")] == expected
    assert encoders.made == made - 1, "the first shard was there"


def test_a_cached_shard_is_made_again_where_what_it_shares_with_others_has_changed(
    teacher, parallel, tmp_path, encoders
):
    """A vector's last bits depend on what is encoded with it, so that another job would give other bytes."""
    job(parallel, teacher, tmp_path / "out", tmp_path / "cache")
    encoders.made = 0
    fresh = [path.read_bytes() for path in job({"tr": parallel["tr"]}, teacher, tmp_path / "fresh")]
    again = job({"tr": parallel["tr"]}, teacher, tmp_path / "again", tmp_path / "cache")
    assert encoders.made == 2
    assert [path.read_bytes() for path in again] == fresh


def test_a_shard_past_the_end_is_empty_and_valid(teacher, corpus, tmp_path):
    path = encode(corpus, teacher, tmp_path / "empty", shard=9)
    shard = VectorShard.open(path)
    assert shard.vectors.shape == (0, 32)
    assert len(VectorStore.open([path], "test")) == 0


def test_vectors_are_mapped_and_not_copied(shards):
    before = pa.total_allocated_bytes()
    shard = VectorShard.open(shards[0])
    assert not shard.vectors.flags.owndata
    assert not shard.vectors.flags.writeable
    assert pa.total_allocated_bytes() - before < shard.vectors.nbytes
    assert shard.vectors[0].base is not None


@settings(deadline=None)
@given(rows=st.lists(st.integers(0, sum(SPLITS.values()) - 1), max_size=30))
def test_rows_come_in_the_order_asked_for(shards, rows):
    store = VectorStore.open(shards, verify=False)
    everything = np.concatenate([shard.vectors for shard in store.shards]).astype(np.float32)
    np.testing.assert_array_equal(store.take(np.array(rows, np.int64)), everything[rows])


@settings(deadline=None)
@given(rows=st.lists(st.integers(0, SPLITS["test"] - 1), max_size=30))
def test_texts_have_numbers_which_are_equal_for_equal_texts_alone(shards, corpus, rows):
    texts = read_corpus(corpus, "test")["text"].to_pylist()
    found = VectorStore.open(shards, "test", verify=False).text_numbers(np.array(rows, np.int64))
    assert found.dtype == np.int64
    assert found.tolist() == [int.from_bytes(text_digest(texts[row])[:8], "little", signed=True) for row in rows]
    assert len(set(found.tolist())) == len({texts[row] for row in rows})


# -- what the teacher reads -------------------------------------------------------------------------------------------


def test_the_teacher_reads_the_aligned_text_where_there_is_one(teacher, tmp_path):
    texts = [f"{WORDS[i]} {WORDS[i + 1]}" for i in range(sum(SPLITS.values()))]
    pairs = [None if i % 3 else f"{WORDS[i + 60]} {WORDS[i + 61]}" for i in range(len(texts))]
    corpus = write_corpus(tmp_path / "tr.parquet", texts, pairs)
    path = encode(corpus, teacher, tmp_path / "0", passages=100, reads="pair")
    expected = given_by(teacher, [pair or text for text, pair in zip(texts, pairs, strict=True)])
    store = VectorStore.open([path])
    np.testing.assert_allclose(store.take(np.arange(len(texts))), expected, atol=1e-3)
    store.check_texts(read_corpus(corpus))


def test_a_named_prompt_goes_before_each_text(corpus, tmp_path):
    teacher = make_tiny_gemma_teacher(tmp_path / "teacher")
    seal_directory(teacher, Manifest("teacher"))
    path = encode(corpus, teacher, tmp_path / "0", prompt="document")
    texts = read_corpus(corpus)["text"].to_pylist()[:16]
    store = VectorStore.open([path])
    np.testing.assert_allclose(store.take(np.arange(16)), given_by(teacher, texts, prompt_name="document"), atol=2e-3)
    assert store.shards[0].manifest.made_by["prompt"] == "title: none | text: "
    store.check_texts(read_corpus(corpus).slice(0, 16))
    other = VectorStore.open([encode(corpus, teacher, tmp_path / "1", prompt="")])
    assert store.shards[0].digests != other.shards[0].digests


def test_a_language_may_have_a_prompt_of_its_own(corpus, tmp_path):
    teacher = make_tiny_gemma_teacher(tmp_path / "teacher")
    seal_directory(teacher, Manifest("teacher"))
    settings = TeacherSettings(model="tiny", prompt="document", language_prompts={"questions": "query"})
    planned = [Shard(lang, 0, 0, 16, 16) for lang in ("questions", "tr")]
    encode_shards(
        planned, {"questions": corpus, "tr": corpus}, teacher, settings, 256, "cpu", tmp_path / "0", tmp_path / "cache"
    )
    texts = read_corpus(corpus)["text"].to_pylist()[:16]
    stores = {shard.lang: VectorStore.open([tmp_path / "0" / f"{shard.name}.arrow"]) for shard in planned}
    for lang, prompt in (("questions", "query"), ("tr", "document")):
        expected = given_by(teacher, texts, prompt_name=prompt)
        np.testing.assert_allclose(stores[lang].take(np.arange(16)), expected, atol=2e-3)
        stores[lang].check_texts(read_corpus(corpus).slice(0, 16))
    alone = encode(corpus, teacher, tmp_path / "1", prompt="document", cache=tmp_path / "cache")
    assert alone.stat().st_ino == (tmp_path / "0" / "tr" / "00000.arrow").stat().st_ino, "the cache has this language's"


# -- what is refused --------------------------------------------------------------------------------------------------


def test_another_order_of_passages_is_refused(shards, corpus):
    ids = read_corpus(corpus)["id"].to_pylist()
    ids[17], ids[18] = ids[18], ids[17]
    with pytest.raises(ArtifactError, match=r"00001\.arrow: was made from another corpus: the passage id of row 1 "):
        VectorStore.open(shards).check_ids(pa.array(ids))


def test_more_or_fewer_passages_are_refused(shards, corpus):
    with pytest.raises(ArtifactError, match="43 vectors for 42 passages"):
        VectorStore.open(shards).check_ids(read_corpus(corpus)["id"].slice(1))


def test_a_changed_text_is_refused(shards, corpus):
    passages = read_corpus(corpus)
    texts = passages["text"].to_pylist()
    texts[35] += "."
    changed = passages.set_column(passages.schema.get_field_index("text"), "text", pa.array(texts))
    with pytest.raises(ArtifactError, match=r"00002\.arrow: was made from another corpus: the text of row 3 "):
        VectorStore.open(shards).check_texts(changed)


def test_shards_of_different_teachers_are_refused(shards, teacher, corpus, tmp_path):
    other = encode(corpus, teacher, tmp_path / "other", 1, prompt="query: ")
    with pytest.raises(ArtifactError, match="was made by another teacher or other settings"):
        VectorStore.open([shards[0], other])


def test_shards_of_a_teacher_with_other_weights_are_refused(shards, tmp_path):
    """The settings are the same; the digest of the teacher's folder is not."""
    shard = VectorShard.open(shards[1])
    manifest = replace(shard.manifest, inputs={**shard.manifest.inputs, "teacher": "another"})
    write_shard(tmp_path / "1.arrow", shard.ids, shard.splits, shard.digests, shard.vectors, manifest)
    with pytest.raises(ArtifactError, match=r"1\.arrow: was made by another teacher or other settings"):
        VectorStore.open([shards[0], tmp_path / "1.arrow"])


@pytest.mark.parametrize("part", ["id", "split", "digest", "vector", "manifest"])
def test_damage_in_any_part_is_noticed(shards, tmp_path, part):
    shard, data = VectorShard.open(shards[0]), bytearray(shards[0].read_bytes())
    places = {
        "id": data.find(b"d3#0"),
        "split": data.find(b"traintrain"),
        "digest": data.find(shard.digests[3].as_py()),
        "vector": data.find(shard.vectors[3].tobytes()),
        "manifest": data.rfind(b'"padding_share"') + 1,
    }
    assert places[part] > 0
    data[places[part]] ^= 0x01
    (tmp_path / "damaged.arrow").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"(does|do) not match (its|their) checksum"):
        VectorShard.open(tmp_path / "damaged.arrow")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_file_is_noticed(shards, tmp_path, share):
    data = shards[0].read_bytes()
    (tmp_path / "cut.arrow").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArtifactError, match="missing or damaged"):
        VectorShard.open(tmp_path / "cut.arrow")


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.arrow: is missing or damaged"):
        VectorShard.open(tmp_path / "none.arrow")


@pytest.mark.parametrize(("factor", "shown"), [(1e9, "which float16 cannot hold"), (float("nan"), "value nan")])
def test_vectors_that_float16_cannot_hold_are_an_error(tmp_path, corpus, factor, shown):
    teacher = make_tiny_gemma_teacher(tmp_path / "teacher")
    weights = teacher / "3_Dense" / "model.safetensors"
    save_file({name: tensor * factor for name, tensor in load_file(weights).items()}, weights)
    modules = (teacher / "modules.json").read_text()
    (teacher / "modules.json").write_text(modules.replace("models.Normalize", "models.Dropout"))
    (teacher / "4_Normalize").mkdir()
    (teacher / "4_Normalize" / "config.json").write_text('{"dropout": 0.0}')
    seal_directory(teacher, Manifest("teacher"))
    with pytest.raises(LangtailorError, match=shown):
        encode(corpus, teacher, tmp_path / "0")
    assert not (tmp_path / "0").exists()


def test_a_damaged_teacher_is_refused(tmp_path, corpus):
    teacher = make_tiny_bert_teacher(tmp_path / "teacher")
    seal_directory(teacher, Manifest("teacher"))
    tensors = load_file(teacher / "model.safetensors")
    save_file({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, teacher / "model.safetensors")
    with pytest.raises(ArtifactError, match="checksum"):
        encode(corpus, teacher, tmp_path / "0")


def test_a_missing_corpus_or_file_of_published_vectors_is_named(teacher, corpus, tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.parquet"):
        encode(tmp_path / "none.parquet", teacher, tmp_path / "0")
    shard, published = Shard("tr", 0, 0, 16, 16), {"tr": tmp_path / "published.arrow"}
    settings = TeacherSettings(model="tiny")
    with pytest.raises(ArtifactError, match=r"published\.arrow: is missing or damaged"):
        encode_shards([shard], {"tr": corpus}, teacher, settings, 256, "cpu", tmp_path / "1", published=published)
