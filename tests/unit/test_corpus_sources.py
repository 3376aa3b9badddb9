"""Documents come from the sample or from the user's files; what cannot be read is named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langtailor.config.corpus import FilesSource, HubSource, Quotas, SampleSource
from langtailor.corpus import json_array, text_file
from langtailor.corpus import local_files as local
from langtailor.corpus.document import Document
from langtailor.corpus.documents import documents_wanted, fetch_documents
from langtailor.corpus.local_files import files_corpus
from langtailor.errors import SourceError
from langtailor.storage.spool import record_batches, spooled
from langtailor.storage.tables import DOCUMENTS, read_table


@dataclass(frozen=True)
class Place:
    """A folder to write sources into and to fetch from."""

    folder: Path

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    def write_parquet(self, name: str, **columns: Sequence[Any]) -> Path:
        pq.write_table(pa.table({key: list(values) for key, values in columns.items()}), self.folder / name)
        return self.folder / name

    def source(self, path: str, **others: Any) -> FilesSource:
        if "pair_path" in others:
            others["pair_path"] = str(self.folder / others["pair_path"])
        return FilesSource(kind="files", path=str(self.folder / path), **others)

    def read(self, path: str, **others: Any) -> list[Document]:
        """All documents of a source, in the order of its files."""
        return list(files_corpus(self.source(path, **others), "tr").documents())

    def fetch(
        self, source: FilesSource | SampleSource, lang: str = "tr", wanted: int = 1000, seed: int = 1
    ) -> list[Document]:
        return self.fetch_with_facts(source, lang, wanted, seed)[0]

    def fetch_with_facts(
        self, source: FilesSource | SampleSource | HubSource, lang: str = "tr", wanted: int = 1000, seed: int = 1
    ) -> tuple[list[Document], dict[str, Any]]:
        out = self.folder / "documents.parquet"
        fetch_documents(source, lang, lang, wanted, seed, out, self.folder / "work")
        table, manifest = read_table(out, "documents", DOCUMENTS)
        return [Document(**row) for row in table.to_pylist()], dict(manifest.facts)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def sample(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    for lang in ("en", "tr", "de"):
        place.write(f"sample/{lang}.txt", "".join(f"{lang} {i}\n" for i in range(1, 31)))
    monkeypatch.setattr(local, "SAMPLE", place.folder / "sample")
    return place


def texts(documents: Sequence[Document]) -> list[str]:
    return [document.text for document in documents]


# Reading


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_plain_text_has_a_document_a_line(place: Place, name: str) -> None:
    place.write(name, "bir\r\n\u2028iki\n\nüç")
    assert place.read(name) == [
        Document(f"{name}:{i}", text) for i, text in enumerate(["bir", "\u2028iki", "", "üç"], 1)
    ]


def test_a_byte_order_mark_is_no_text(place: Place) -> None:
    place.write("a.txt", "\ufeffbir\n")
    place.write("a.jsonl", '\ufeff{"text": "bir"}\n')
    assert texts(place.read("a.txt") + place.read("a.jsonl")) == ["bir", "bir"]


def test_aligned_text_files_are_read_line_by_line(place: Place) -> None:
    place.write("x.tr.txt", "bir\niki\n")
    place.write("x.en.txt.gz", "one\ntwo")
    documents = place.read("x.{lang}.txt", pair_path="x.en.txt.gz")
    assert documents == [Document("x.tr.txt:1", "bir", "one"), Document("x.tr.txt:2", "iki", "two")]


@pytest.mark.parametrize(("first", "second"), [(3, 5), (5, 3), (0, 1)])
def test_aligned_files_of_unequal_length_are_an_error_with_both_counts(place: Place, first: int, second: int) -> None:
    place.write("a.txt", "x\n" * first)
    place.write("b.txt", "y\n" * second)
    with pytest.raises(SourceError, match=rf"a\.txt has {first} lines and .*b\.txt {second}"):
        place.read("a.txt", pair_path="b.txt")


def test_tsv_has_text_and_pair(place: Place) -> None:
    place.write("a.tsv", 'bir "iki\tone "two\n')
    assert place.read("a.tsv") == [Document("a.tsv:1", 'bir "iki', 'one "two')]


def test_json_lines_have_fields(place: Place) -> None:
    place.write("a.jsonl", '{"t": "bir", "p": "one", "id": 7}\n\n{"t": "iki", "p": null, "id": "x"}\n')
    documents = place.read("a.jsonl", text_field="t", pair_field="p", id_field="id")
    assert documents == [Document("7", "bir", "one"), Document("a.jsonl:2", ""), Document("x", "iki", "")]
    assert place.read("a.jsonl", text_field="t")[2] == Document("a.jsonl:3", "iki")


def test_parquet_has_columns(place: Place) -> None:
    place.write_parquet("a.parquet", t=["bir", None, "üç"], p=["one", "two", None], id=[1, 2, 3], other=[0, 0, 0])
    documents = place.read("a.parquet", text_field="t", pair_field="p", id_field="id")
    assert documents == [Document("1", "bir", "one"), Document("2", "", "two"), Document("3", "üç", "")]
    assert [document.id for document in place.read("a.parquet", text_field="t")] == [
        f"a.parquet:{i}" for i in (1, 2, 3)
    ]


def test_a_folder_gives_all_its_files_in_order(place: Place) -> None:
    place.write("tr/b.txt", "iki\n")
    place.write("tr/a/z.jsonl.gz", '{"text": "bir"}\n')
    place.write("tr/.hidden.txt", "no\n")
    place.write("tr/README.md", "no\n")
    assert place.read("{lang}") == [Document("a/z.jsonl.gz:1", "bir"), Document("b.txt:1", "iki")]


def test_lines_may_be_very_long(place: Place) -> None:
    place.write("a.txt", "kısa\n" + "uzun " * 2_000_000 + "\n")
    assert [len(text) for text in texts(place.fetch(place.source("a.txt")))] in ([4, 10_000_000], [10_000_000, 4])


def compressed(data: bytes, suffix: str) -> bytes:
    if suffix == ".zst":
        return bytes(pa.Codec("zstd").compress(data, asbytes=True))
    return {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix](data)


def parquet_bytes(**columns: Sequence[Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({key: list(values) for key, values in columns.items()}), sink)
    return bytes(sink.getvalue())


FORMATS: dict[str, bytes] = {
    ".txt": b"bir\niki\n",
    ".jsonl": b'{"text": "bir"}\n{"text": "iki"}\n',
    ".json": b'[{"text": "bir"},\n {"text": "iki"}]\n',
    ".csv": b"id,text\n1,bir\n2,iki\n",
    ".tsv": b"bir\tone\niki\ttwo\n",
    ".parquet": parquet_bytes(text=["bir", "iki"]),
}


@pytest.mark.parametrize("compression", ["", ".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("upper", [False, True])
def test_every_format_is_read_compressed_or_not_in_any_case(
    place: Place, suffix: str, compression: str, upper: bool
) -> None:
    name = f"a{suffix}{compression}"
    name = name.upper() if upper else name
    (place.folder / name).write_bytes(compressed(FORMATS[suffix], compression))
    documents = place.read(name)
    assert [(document.id, document.text) for document in documents] == [(f"{name}:1", "bir"), (f"{name}:2", "iki")]


def test_what_is_left_out_of_a_folder_is_named_with_the_reason(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.txt", "b.TXT", "notes.docx", ".hidden.txt"):
        place.write(f"mix/{name}", "metin\n")
    (place.folder / "mix" / "c.txt.zst").write_bytes(b"x")
    assert len(place.fetch(place.source("mix"))) == 2
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [message.partition(" is left out of ")[0] for message in said] == [".hidden.txt", "c.txt.zst", "notes.docx"]
    assert said[0].endswith("mix: hidden") and said[1].endswith("mix: not compressed as .zst")
    assert "mix: none of .txt, .jsonl," in said[2]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 1 << 20])
def test_lines_end_with_a_line_feed_a_carriage_return_or_both(
    place: Place, monkeypatch: pytest.MonkeyPatch, end: str, chunk: int
) -> None:
    monkeypatch.setattr(text_file, "CHUNK_BYTES", chunk)
    place.write("a.txt", end.join(["bir", "", "iki\u2028x", "üç", ""]))
    place.write("a.jsonl", end.join(['{"text": "bir"}', '{"text": "iki"}']))
    place.write("a.csv", end.join(["text", "bir", f'"iki{end}satır"', ""]))
    assert texts(place.read("a.txt")) == ["bir", "", "iki\u2028x", "üç"]
    assert texts(place.read("a.jsonl")) == ["bir", "iki"]
    assert texts(place.read("a.csv")) == ["bir", f"iki{end}satır"]


def test_a_field_in_a_field_is_named_by_its_path(place: Place) -> None:
    rows = [
        {"translation": {"tr": "bir", "en": "one"}, "meta": {"ids": {"n": 1}}},
        {"translation": {"tr": None, "en": "two"}, "meta": {"ids": {"n": 2}}},
        {"translation": None, "meta": {"ids": {"n": 3}}},
    ]
    place.write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    place.write("b.json", json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), place.folder / "c.parquet")
    for name in ("a.jsonl", "b.json", "c.parquet"):
        fields = {"text_field": "translation.tr", "pair_field": "translation.en", "id_field": "meta.ids.n"}
        assert place.read(name, **fields) == [
            Document("1", "bir", "one"),
            Document("2", "", "two"),
            Document("3", "", ""),
        ]


def test_a_name_with_a_dot_is_a_name(place: Place) -> None:
    place.write("a.jsonl", '{"text.tr": "bir", "text": {"tr": "iki"}}\n')
    place.write_parquet("b.parquet", **{"text.tr": ["bir"]})
    assert (
        texts(place.read("a.jsonl", text_field="text.tr") + place.read("b.parquet", text_field="text.tr"))
        == ["bir"] * 2
    )


def test_csv_has_a_header_and_quotes(place: Place) -> None:
    place.write("a.csv", '\ufeffid,source,target\n7,"bir, ""iki""","one, ""two"""\n\n8,"üç\ndört",\n')
    fields = {"text_field": "source", "pair_field": "target", "id_field": "id"}
    assert place.read("a.csv", **fields) == [Document("7", 'bir, "iki"', 'one, "two"'), Document("8", "üç\ndört", "")]
    assert [document.id for document in place.read("a.csv", text_field="source")] == ["a.csv:1", "a.csv:2"]


records = st.lists(st.fixed_dictionaries({"text": st.text(st.characters(codec="utf-8"), max_size=20)}), max_size=6)


@given(records, st.integers(1, 40), st.sampled_from([None, 0, 2]), st.booleans())
def test_an_array_of_records_is_read_in_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, str]],
    chunk: int,
    indent: int | None,
    ascii_only: bool,
) -> None:
    place = Place(tmp_path_factory.mktemp("array"))
    place.write("a.json", f"\n {json.dumps(rows, indent=indent, ensure_ascii=ascii_only)} \n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "CHUNK_BYTES", chunk)
        patch.setattr(json_array, "CHUNK_BYTES", chunk)
        assert texts(place.read("a.json")) == [row["text"] for row in rows]


def test_a_json_file_may_have_a_record_a_line(place: Place) -> None:
    place.write("a.json", '{"text": "bir"}\n{"text": "iki"}\n')
    place.write("b.json", "")
    assert texts(place.read("a.json") + place.read("b.json")) == ["bir", "iki"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.csv", "a.tsv"])
def test_a_record_of_gigabytes_is_refused_by_its_line_without_being_read(place: Place, name: str) -> None:
    heads = {
        "a.jsonl": b'{"text": "bir"}\n',
        "a.json": b'[{"text": "bir"},\n{"text": "',
        "a.csv": b"text\n",
        "a.tsv": b"a\tb\n",
    }
    with (place.folder / name).open("wb") as file:
        file.write(heads.get(name, b"bir\n"))
        if name == "a.json":  # whose strings hold no NUL
            file.write(b"x" * 140_000_000)
        file.truncate(5 << 30)  # takes no room on the disk
    tracemalloc.start()
    with pytest.raises(SourceError, match=rf"{name}, (line|record) 2: is longer than 100 MB"):
        place.read(name)
    assert tracemalloc.get_traced_memory()[1] < 600_000_000
    tracemalloc.stop()


# What cannot be read


@pytest.mark.parametrize(
    ("name", "content", "others", "message"),
    [
        ("a.txt", b"ok\ngood\nb\xe9d\n", {}, r"a\.txt, line 3: is not UTF-8 \(byte 2 of the line"),
        ("a.txt", "bir".encode("utf-16"), {}, r"a\.txt, line 1: is not UTF-8"),
        ("a.tsv", "a\tb\nc\n", {}, r"a\.tsv, line 2: has 1 tab-separated columns where 2 are expected"),
        ("a.tsv", "a\tb\tc\n", {}, r"a\.tsv, line 1: has 3 tab-separated columns"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', {}, r"a\.jsonl, line 2: is not JSON"),
        ("a.jsonl", "[" * 100_000 + "\n", {}, r"a\.jsonl, line 1: is not JSON"),
        ("a.jsonl", '["text"]\n', {}, r"a\.jsonl, line 1: is a JSON list"),
        ("a.jsonl", '{"txt": "a"}\n', {}, r"a\.jsonl, line 1: has no field 'text'; it has txt"),
        ("a.jsonl", '{"text": 5}\n', {}, r"a\.jsonl, line 1, field 'text': is a int"),
        ("a.jsonl", '{"text": "a\\ud800"}\n', {}, r"line 1, field 'text': has half a surrogate pair at character 2"),
        ("a.jsonl", '{"text": "a"}\n', {"id_field": "id"}, r"line 1: has no field 'id'"),
        ("a.jsonl", '{"text": "a", "id": null}\n', {"id_field": "id"}, r"line 1, field 'id': is None where an id"),
        ("a.jsonl", '{"text": "a"}\n', {"pair_field": "en"}, r"line 1: has no field 'en'"),
        ("a.jsonl", '{"a": {"en": "x"}}\n', {"text_field": "a.tr"}, r"line 1: has no field 'a\.tr'; 'a' has en"),
        ("a.jsonl", '{"a": "x"}\n', {"text_field": "a.tr"}, r"line 1: has no field 'a\.tr'; 'a' has none"),
        ("a.json", '[{"text": "a"}, ["b"]]', {}, r"a\.json, record 2: is a JSON list"),
        ("a.json", '[{"text": "a"}, {"text": ]', {}, r"a\.json, record 2: is not JSON \(Expecting value"),
        ("a.json", '[{"text": "a"}', {}, r"a\.json, record 1: is not JSON \(',' or '\]' is missing behind it"),
        ("a.json", '[{"text": "a', {}, r"a\.json, record 1: is not JSON \(Unterminated"),
        ("a.json", '[{"text": "a"},', {}, r"a\.json, record 2: is not JSON"),
        ("a.json", '[{"text": "a"}] {}', {}, r"a\.json: is not JSON: something follows the array"),
        ("a.json", "[" * 100_000, {}, r"a\.json, record 1: is not JSON"),
        ("a.json", b'[{"text": "b\xe9d"}]', {}, r"a\.json: is not UTF-8"),
        ("a.json", '{\n "text": "a"\n}', {}, r"a\.json, line 1: is not JSON"),
        ("a.csv", "text,id\na,1\nb\n", {}, r"a\.csv, line 3: has 1 values where the header names 2 columns"),
        ("a.csv", 'text\na\n"b\nc\n', {}, r"a\.csv, line 3: is not CSV \(unexpected end of data"),
        ("a.csv", 'text\n"a" b\n', {}, r"a\.csv, line 2: is not CSV"),
        ("a.csv", "body\na\n", {}, r"a\.csv, line 2: has no field 'text'; it has body"),
        (
            "a.csv",
            "text,id,text\na,1,b\n",
            {},
            r"a\.csv: has more than one column 'text'; rename or remove all but one",
        ),
        ("a.parquet", b"no Parquet", {}, r"a\.parquet cannot be read"),
        ("a.txt.zst", b"x", {}, r"a\.txt\.zst cannot be read"),
        ("a.txt.xz", b"\xfd7zXZ\0broken", {}, r"a\.txt\.xz cannot be read"),
        ("a.txt.bz2", b"BZhbroken", {}, r"a\.txt\.bz2 cannot be read"),
        (
            "a.doc",
            "text\n",
            {},
            r"a\.doc is none of \.txt, \.jsonl, \.json, \.csv, \.tsv, \.parquet, each also with \.gz",
        ),
        ("a.jsonl", "{}\n", {"pair_path": "a.jsonl"}, r"`pair_path`, which needs one plain text file"),
        ("a/x.md", "", {}, r"holds no file that ends in .*found 1 other files"),
    ],
)
def test_what_cannot_be_read_is_named(
    place: Place, name: str, content: str | bytes, others: dict, message: str
) -> None:
    place.write(name, content)
    with pytest.raises(SourceError, match=message):
        place.read(name.partition("/")[0], **others)


def test_a_name_that_two_columns_of_a_parquet_file_have_is_refused(place: Place) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(twice, place.folder / "a.parquet")
    with pytest.raises(SourceError, match=r"a\.parquet: has more than one column 'text'"):
        place.read("a.parquet")


def test_a_missing_file_is_named_with_its_key(place: Place) -> None:
    with pytest.raises(SourceError, match=r"x\.tr\.txt does not exist \(`path: .*x\.\{lang\}\.txt`"):
        place.read("x.{lang}.txt")


def test_a_missing_column_is_named_with_those_there_are(place: Place) -> None:
    place.write_parquet("a.parquet", body=["x"], title=[{"tr": "y"}])
    for field in ("text", "title.en", "body.tr"):
        with pytest.raises(SourceError, match=rf"a\.parquet: has no column '{field}'; it has body, title\.tr"):
            place.read("a.parquet", text_field=field)


def test_a_column_that_is_no_text_is_named_with_its_row(place: Place) -> None:
    place.write_parquet("a.parquet", text=[None, 5])
    with pytest.raises(SourceError, match=r"a\.parquet, row 2, field 'text': is a int"):
        place.read("a.parquet")


def test_a_damaged_archive_is_named(place: Place) -> None:
    path = place.write("a.txt.gz", "metin\n" * 1000)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"a\.txt\.gz cannot be read"):
        place.read("a.txt.gz")


@pytest.mark.parametrize("content", ["", "\n \n\t\n"])
def test_a_source_without_text_is_an_error(place: Place, content: str) -> None:
    place.write("a.txt", content)
    with pytest.raises(SourceError, match=r"files source of language 'tr' has no text \(.*a\.txt\)"):
        place.fetch(place.source("a.txt"))
    assert not (place.folder / "documents.parquet").exists()


def test_an_id_that_comes_twice_is_an_error(place: Place) -> None:
    place.write("a.jsonl", "".join(json.dumps({"text": f"t{i}", "id": i % 5}) + "\n" for i in range(6)))
    with pytest.raises(SourceError, match="the id '0' belongs to more than one document"):
        place.fetch(place.source("a.jsonl", id_field="id"))


# Sampling


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_larger_sample_begins_with_the_smaller_one(
    tmp_path_factory: pytest.TempPathFactory, one: int, other: int, seed: int
) -> None:
    place = Place(tmp_path_factory.mktemp("sampling"))
    place.write("a.txt", "".join(f"metin {i}\n" for i in range(50)))
    fewer, more = (place.fetch(place.source("a.txt"), wanted=wanted, seed=seed) for wanted in sorted((one, other)))
    assert more[: len(fewer)] == fewer
    assert len(more) == min(max(one, other), 50)


def test_a_sample_is_spread_over_the_whole_source(place: Place) -> None:
    for part in range(4):
        place.write(f"tr/{part}.txt", "".join(f"metin {i}\n" for i in range(1000)))
    names = [document.id[0] for document in place.fetch(place.source("tr"), wanted=400)]
    assert all(70 < names.count(part) < 130 for part in "0123")


def test_another_seed_draws_another_sample(place: Place) -> None:
    place.write("a.txt", "".join(f"metin {i}\n" for i in range(1000)))
    one, other = (place.fetch(place.source("a.txt"), wanted=100, seed=seed) for seed in (1, 2))
    assert len({document.id for document in one} & {document.id for document in other}) < 30


def test_fetching_again_gives_the_same_bytes(place: Place) -> None:
    place.write("a.tsv", "".join(f"metin {i}\ttext {i}\n" for i in range(100)))
    place.fetch(place.source("a.tsv"), wanted=50)
    first = (place.folder / "documents.parquet").read_bytes()
    place.fetch(place.source("a.tsv"), wanted=50)
    assert (place.folder / "documents.parquet").read_bytes() == first


def test_the_manifest_tells_where_the_documents_come_from(place: Place) -> None:
    place.write("a.txt", "bir\n\niki\n\nüç\n")
    _, facts = place.fetch_with_facts(place.source("a.txt"), wanted=2)
    assert facts["available"] == 3 and facts["blank"] == 2 and facts["documents"] == 2
    place.write("a.txt", "bir\n\niki\n\nuç\n")
    assert place.fetch_with_facts(place.source("a.txt"), wanted=2)[1]["revision"] != facts["revision"]


def test_documents_that_miss_their_pair_are_no_candidates(place: Place) -> None:
    place.write("a.tsv", "bir\tone\niki\t\n\tthree\n")
    assert place.fetch(place.source("a.tsv")) == [Document("a.tsv:1", "bir", "one")]


def test_nothing_is_left_in_the_work_folder(place: Place) -> None:
    place.write("a.txt", "bir\n")
    place.fetch(place.source("a.txt"))
    assert list((place.folder / "work").iterdir()) == []


# The sample corpus


def test_translations_in_the_sample_share_ids_and_order(sample: Place) -> None:
    english, turkish = (sample.fetch(SampleSource(kind="sample"), lang) for lang in ("en", "tr"))
    assert [document.id for document in english] == [document.id for document in turkish]
    assert {document.id for document in english} == {f"sample:{i:04d}" for i in range(1, 31)}
    assert [document.pair for document in turkish] == texts(english)
    assert all(document.pair is None for document in english)


def test_a_language_that_the_sample_lacks_is_an_error_with_those_it_has(sample: Place) -> None:
    with pytest.raises(SourceError, match=r"no language 'xx'; it has de, en, tr"):
        sample.fetch(SampleSource(kind="sample"), "xx")


def test_the_sample_is_part_of_the_package() -> None:
    assert (Path(__file__).parents[2] / "workflow" / "langtailor" / "corpus" / "sample").samefile(local.SAMPLE)


# How much to ask for


@given(st.builds(Quotas, train=st.integers(1, 9999), validation=st.integers(0, 9999), test=st.integers(0, 9999)))
def test_more_documents_than_passages_are_wanted_and_raised_quotas_want_more(quotas: Quotas) -> None:
    raised = Quotas(train=2 * quotas.train, validation=2 * quotas.validation, test=2 * quotas.test)
    for source in (SampleSource(kind="sample"), HubSource(kind="hub", dataset="a/b")):
        assert quotas.total < documents_wanted(quotas, source) < documents_wanted(raised, source)


# Rows on disk

rows = st.lists(st.tuples(st.text(), st.text(), st.none() | st.text()), max_size=30)


@given(rows, st.randoms())
def test_spooled_rows_come_back_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, str, str | None]], random: Any
) -> None:
    order = random.sample(range(len(written)), len(written))
    with spooled(written, DOCUMENTS, tmp_path_factory.getbasetemp() / "x") as spool:
        assert len(spool) == len(written)
        assert list(spool.pick(order)) == [written[i] for i in order]


def test_batches_are_bounded_in_rows_and_characters() -> None:
    many = list(record_batches(((str(i), "x", None) for i in range(10_000)), DOCUMENTS))
    assert [batch.num_rows for batch in many] == [4096, 4096, 1808]
    long = list(record_batches(((str(i), "x" * 5_000_000, None) for i in range(4)), DOCUMENTS))
    assert [batch.num_rows for batch in long] == [2, 2]


def test_spooled_rows_come_back_from_any_batch(tmp_path: Path) -> None:
    with spooled(((str(i), "x", None) for i in range(9000)), DOCUMENTS, tmp_path / "x") as spool:
        assert [row[0] for row in spool.pick([8999, 0, 4095, 4096, 8192])] == ["8999", "0", "4095", "4096", "8192"]
