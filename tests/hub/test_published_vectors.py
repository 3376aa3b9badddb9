"""Vectors that one run has published are taken over by another, which computes only what they lack."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset

from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import Shard, VectorSource
from langtailor.errors import ArtifactError, ConfigError, LangtailorError, SourceError
from langtailor.models.encoder import Encoder
from langtailor.publish.vectors import Request, publish_vectors
from langtailor.sources.hub_client import Patience
from langtailor.sources.hub_upload import Target
from langtailor.storage.artifacts import Manifest, seal_directory
from langtailor.storage.tables import CORPUS, write_table
from langtailor.vectors.encode import encode_shards
from langtailor.vectors.published import fetch_published
from langtailor.vectors.store import VectorShard, text_digest
from tests.hub.repository import Repo
from tests.hub.server import Hub
from tests.models import make_tiny_bert_teacher
from tests.unit.surgery_teachers import TEXTS

BRISK = Patience(attempts=3, first_wait=0.01, longest_wait=2.0, timeout=5.0)
NAME = "someone/vectors"
SETTINGS = TeacherSettings(model="./tiny", prompt="query: ", reads="pair")
SPLITS = ("train",) * 20 + ("validation",) * 6 + ("test",) * 4
WORDS = " ".join(TEXTS).split()


def write_corpus(path: Path, lang: str, offset: int, changed: Mapping[int, str] | None = None) -> Path:
    """A corpus whose every third passage has an aligned text."""
    texts = [" ".join(WORDS[(offset + 3 * i) % 90 :][: 3 + i % 6]) for i in range(len(SPLITS))]
    texts = [(changed or {}).get(i, text) for i, text in enumerate(texts)]
    columns: dict[str, Sequence[Any]] = {
        "id": [f"{lang}{i}#0" for i in range(len(texts))],
        "lang": [lang] * len(texts),
        "text": texts,
        "split": SPLITS,
        "pair": [None if i % 3 else f"pair {text}" for i, text in enumerate(texts)],
    }
    table = pa.table([pa.array(columns[field.name], field.type) for field in CORPUS], schema=CORPUS)
    write_table(path, table, Manifest("corpus", facts={"passages": dict.fromkeys(SPLITS, 1)}))
    return path


def read_of(corpus: Path) -> list[str]:
    """What the teacher reads of each passage, without the prompt."""
    return [row["pair"] or row["text"] for row in pq.read_table(corpus).to_pylist()]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny_bert_teacher(tmp_path_factory.mktemp("bert") / "teacher")
    seal_directory(folder, Manifest("teacher", inputs={"commit": "c0ffee"}, facts={"license": "mit"}))
    return folder


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpora")
    return {lang: write_corpus(folder / f"{lang}.parquet", lang, i) for i, lang in enumerate(("en", "tr"))}


def encode(
    corpora: Mapping[str, Path], teacher: Path, out: Path, published: Mapping[str, Path] | None = None
) -> dict[str, list[Path]]:
    """Two shards of each language, made by one job."""
    planned = [Shard(lang, number, 16 * number, 16, 16) for lang in corpora for number in range(2)]
    encode_shards(planned, corpora, teacher, SETTINGS, 256, "cpu", out, published=published)
    return {lang: [out / f"{shard.name}.arrow" for shard in planned if shard.lang == lang] for lang in corpora}


@pytest.fixture(scope="module")
def shards(corpora: dict[str, Path], teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return encode(corpora, teacher, tmp_path_factory.mktemp("shards") / "0000")


def publish(
    shards: Mapping[str, Sequence[Path]], teacher: Path, folder: Path, corpora: Mapping[str, Path] | None = None
) -> None:
    request = Request(teacher, SETTINGS.model, shards, corpora)
    publish_vectors(request, Target(NAME, "dataset", private=True), folder / "receipt.json", BRISK)


@pytest.fixture
def data_set(writer: Hub, shards: dict[str, list[Path]], teacher: Path, tmp_path: Path) -> Repo:
    publish(shards, teacher, tmp_path)
    return writer.repos[f"datasets/{NAME}"]


def fetch(teacher: Path, folder: Path, *langs: str, settings: TeacherSettings = SETTINGS) -> dict[str, Path]:
    """Files of the published vectors by language."""
    source, files = VectorSource(dataset=NAME), {lang: folder / f"{lang}.arrow" for lang in langs}
    for lang, out in files.items():
        fetch_published(source, lang, teacher, settings, out, folder / "work", BRISK)
    return files


def refusal(teacher: Path, folder: Path, kind: type[LangtailorError] = ConfigError, **changes: Any) -> str:
    """The message with which published vectors are refused."""
    with pytest.raises(kind) as caught:
        fetch(teacher, folder, "tr", settings=SETTINGS.model_copy(update=changes))
    assert not (folder / "tr.arrow").exists()
    return str(caught.value)


@pytest.fixture
def no_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing load the teacher."""
    monkeypatch.setattr("langtailor.vectors.encode.load_teacher", lambda *_: pytest.fail("the teacher is loaded"))


# -- what is published ------------------------------------------------------------------------------------------------


def test_a_data_set_has_a_row_for_each_passage(
    data_set: Repo, writer: Hub, shards: dict[str, list[Path]], corpora: dict[str, Path], tmp_path: Path
) -> None:
    for name, data in data_set.content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    files = str(tmp_path / "data/tr/*.parquet")
    rows = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["id"][:] == [f"tr{i}#0" for i in range(30)]
    assert rows["split"][:] == list(SPLITS) and set(rows["language"]) == {"tr"}
    assert rows["text_digest"][:] == [text_digest(f"query: {text}").hex() for text in read_of(corpora["tr"])]
    vectors = np.concatenate([VectorShard.open(path).vectors for path in shards["tr"]])
    np.testing.assert_array_equal(np.array(rows.with_format("numpy")["vector"][:]), vectors)
    assert "text" not in rows.column_names and len(writer.uploads.commits) == 1


def test_texts_are_published_where_that_is_asked_for(
    writer: Hub, shards: dict[str, list[Path]], corpora: dict[str, Path], teacher: Path, tmp_path: Path
) -> None:
    publish(shards, teacher, tmp_path, corpora)
    files = writer.repos[f"datasets/{NAME}"].content
    rows = [pq.read_table(io.BytesIO(files[f"data/en/0000{number}.parquet"])).to_pylist() for number in range(2)]
    assert [row["text"] for row in rows[0] + rows[1]] == read_of(corpora["en"])
    assert "licences of the corpora" in files["README.md"].decode()
    other = {**corpora, "tr": write_corpus(tmp_path / "tr.parquet", "tr", 50)}
    with pytest.raises(ArtifactError, match="was made from another corpus"):
        publish(shards, teacher, tmp_path, other)


def test_the_card_says_what_it_is_and_nothing_of_this_machine(data_set: Repo, teacher: Path) -> None:
    card = data_set.content["README.md"].decode()
    _, matter, text = card.split("---\n", 2)
    configs = yaml.safe_load(matter)["configs"]
    assert [config["config_name"] for config in configs] == ["en", "tr"]
    assert configs[1]["data_files"] == [{"split": "passages", "path": "data/tr/*.parquet"}]
    assert "| tr | 20 | 6 | 4 |" in text
    assert (
        "`mean_tokens` pooling. If a passage has an aligned text, the teacher read that text instead.\n\n## Licence"
        in text
    )
    assert "The licence of the teacher is `mit`." in text and "not part of this data set" in text
    assert f"vectors: {{source: {{dataset: {NAME}}}}}" in text and 'prompt = "query: "' in text
    for data in data_set.content.values():
        assert str(teacher).encode() not in data and b"./tiny" not in data


def test_a_shard_that_comes_or_goes_is_all_that_is_sent(
    data_set: Repo, writer: Hub, shards: dict[str, list[Path]], teacher: Path, tmp_path: Path, said: io.StringIO
) -> None:
    publish(shards, teacher, tmp_path)
    assert len(writer.uploads.commits) == 1 and "nothing to commit" in said.getvalue()
    fewer = {"en": shards["en"], "tr": shards["tr"][:1]}
    publish(fewer, teacher, tmp_path)
    assert writer.uploads.commits[1][1] == ["README.md", "manifest.json", "-data/tr/00001.parquet"]
    publish(shards, teacher, tmp_path)
    assert writer.uploads.commits[2][1] == ["README.md", "data/tr/00001.parquet", "manifest.json"]


# -- what is taken over -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("data_set", "no_teacher")
def test_shards_are_the_same_bytes_as_those_computed(
    shards: dict[str, list[Path]], corpora: dict[str, Path], teacher: Path, tmp_path: Path
) -> None:
    again = encode(corpora, teacher, tmp_path / "0000", fetch(teacher, tmp_path, "en", "tr"))
    for lang, paths in shards.items():
        assert [path.read_bytes() for path in again[lang]] == [path.read_bytes() for path in paths]


@pytest.mark.usefixtures("data_set")
def test_the_teacher_computes_only_what_is_not_published(
    shards: dict[str, list[Path]], teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: io.StringIO
) -> None:
    """One text of Turkish is new, and German is a language that the data set lacks."""
    turkish = write_corpus(tmp_path / "tr.parquet", "tr", 1, {7: "only here"})
    corpora = {"de": write_corpus(tmp_path / "de.parquet", "de", 40), "tr": turkish}
    read: list[str] = []
    real = Encoder.encode

    def encode_and_note(encoder: Encoder, texts: list[str], label: str) -> Any:
        read.extend(texts)
        return real(encoder, texts, label)

    with monkeypatch.context() as patched:
        patched.setattr(Encoder, "encode", encode_and_note)
        found = encode(corpora, teacher, tmp_path / "0000", fetch(teacher, tmp_path, "de", "tr"))
    assert f"{NAME} has no vectors of de: the teacher computes them" in said.getvalue()
    assert set(read) - set(read_of(corpora["de"])) == {"only here"} and len(read) == len(set(read))
    ours, theirs = (VectorShard.open(paths[0]) for paths in (found["tr"], shards["tr"]))
    same = [row for row in range(16) if row != 7]
    np.testing.assert_array_equal(ours.vectors[same], theirs.vectors[same])
    fresh = VectorShard.open(encode(corpora, teacher, tmp_path / "fresh")["tr"][0])
    np.testing.assert_allclose(ours.vectors[7].astype(np.float32), fresh.vectors[7].astype(np.float32), atol=1e-3)


@pytest.mark.usefixtures("data_set", "no_teacher")
def test_another_card_of_the_teacher_does_not_make_it_another(corpora: dict[str, Path], tmp_path: Path) -> None:
    teacher = make_tiny_bert_teacher(tmp_path / "teacher")
    (teacher / "README.md").write_text("A card.")
    seal_directory(teacher, Manifest("teacher", inputs={"commit": "another"}))
    encode(corpora, teacher, tmp_path / "0000", fetch(teacher, tmp_path, "en", "tr"))


@pytest.mark.usefixtures("data_set")
def test_another_teacher_is_refused_by_name(tmp_path: Path) -> None:
    other = make_tiny_bert_teacher(tmp_path / "teacher")
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    seal_directory(other, Manifest("teacher", inputs={"commit": "decaf"}))
    error = refusal(other, tmp_path)
    assert error.startswith("config `vectors.source`: ")
    assert f"/datasets/{NAME} holds vectors of another teacher: a local model at commit c0ffee." in error
    assert "This run's is ./tiny at commit decaf. Set `teacher.model` and `teacher.revision`" in error


@pytest.mark.usefixtures("data_set")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"prompt": "passage: "}, "another prompt: 'query: ', this run's is 'passage: '. Set `teacher.prompt`"),
        ({"max_length": 16}, "another max_length: 128, this run's is 16. Set `teacher.max_length`"),
        ({"dtype": "bfloat16"}, "another dtype: 'float32', this run's is 'bfloat16'. Set `teacher.dtype`"),
    ],
)
def test_another_reading_is_refused_by_name(teacher: Path, tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    assert told in refusal(teacher, tmp_path, **changes)


def test_a_data_set_of_another_kind_is_refused(hub: Hub, teacher: Path, tmp_path: Path) -> None:
    repo = hub.dataset(NAME, {"data/tr/00000.parquet": b"x"})
    assert "has no manifest.json: it was not made by `snakemake publish`" in refusal(teacher, tmp_path)
    repo.push({"manifest.json": b"{}"})
    assert "its manifest.json cannot be read" in refusal(teacher, tmp_path)
    repo.push({"manifest.json": Manifest("published model").to_json().encode()})
    assert "holds 'published model' where 'published vectors' are needed" in refusal(teacher, tmp_path)


def test_files_that_cannot_be_vectors_are_refused(data_set: Repo, teacher: Path, tmp_path: Path) -> None:
    files, name = data_set.content, "data/tr/00000.parquet"
    data_set.push({**files, name: files[name][:200]})
    assert "00000.parquet of the data set cannot be read" in refusal(teacher, tmp_path / "cut", SourceError)
    table = pq.read_table(io.BytesIO(files[name]))
    none = pa.FixedSizeListArray.from_arrays(pa.array([np.float16("nan")] * 32 * len(table), pa.float16()), 32)
    changed = {
        "is not finite": table.set_column(4, "vector", none),
        "has other columns": table.set_column(4, "vector", pa.array(["x"] * len(table))),
    }
    for said, other in changed.items():
        stream = io.BytesIO()
        pq.write_table(other, stream)
        data_set.push({**files, name: stream.getvalue()})
        assert said in refusal(teacher, tmp_path / said, SourceError)


def test_a_fetch_that_broke_off_goes_on(
    data_set: Repo, writer: Hub, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    writer.fail("00001.parquet", times=99, method="HEAD", status=503)
    assert "answers 503" in refusal(teacher, tmp_path, LangtailorError)
    writer.heal()
    fetch(teacher, tmp_path, "tr")
    assert not writer.seen("00000.parquet?") and len(writer.seen("00001.parquet?")) == 1
