"""A corpus is clean, whole, split by document, and grows without changing."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from langtailor.config.base import SPLITS
from langtailor.config.corpus import CleaningSettings, Quotas, ShortSettings
from langtailor.corpus.build import build_corpus
from langtailor.corpus.document import Document
from langtailor.corpus.reading import read_corpus, split_counts
from langtailor.errors import ArtifactError, SourceError
from langtailor.storage.artifacts import Manifest
from langtailor.storage.tables import CORPUS, DOCUMENTS, read_table_manifest, table_writer, write_table
from tests.unit.test_corpus_chunking import count_with_specials, write_teacher

LETTERS = "abcdefghijklmnoprstuvyzçğıöşü"
CLEANING = CleaningSettings(min_characters=5, near_duplicate_similarity=0.8)


@dataclass(frozen=True)
class Workshop:
    """Builds corpora of given documents."""

    folder: Path

    def build(
        self,
        documents: Iterable[Document],
        quotas: Quotas,
        cleaning: CleaningSettings = CLEANING,
        chunk_tokens: int = 60,
        wanted: int = 10**6,
        name: str = "corpus",
        short: ShortSettings | None = None,
    ) -> Path:
        rows = list(documents)
        columns = {field: [getattr(row, field) for row in rows] for field in DOCUMENTS.names}
        made_by = {"source": {"kind": "files"}, "wanted": wanted}
        manifest = Manifest("documents", made_by, facts={"documents": len(rows), "revision": "abc"})
        write_table(self.folder / "documents.parquet", pa.table(columns, schema=DOCUMENTS), manifest)
        teacher = write_teacher(self.folder / "teacher")
        out = self.folder / f"{name}.parquet"
        build_corpus(self.folder / "documents.parquet", teacher, "tr", chunk_tokens, cleaning, quotas, 1, out, short)
        return out


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def sentences(rng: random.Random, count: int) -> str:
    def word() -> str:
        return "".join(rng.choices(LETTERS, k=rng.randrange(2, 9)))

    return " ".join(" ".join(word() for _ in range(6)).capitalize() + "." for _ in range(count))


def articles(count: int, seed: int = 0) -> list[Document]:
    """Documents of one to six sentences; a tenth of them repeats an earlier one."""
    rng = random.Random(seed)
    made: list[Document] = []
    for i in range(count):
        repeat = made and rng.random() < 0.1
        made.append(Document(f"d{i}", rng.choice(made).text if repeat else sentences(rng, rng.randrange(1, 7))))
    return made


def rows(path: Path, split: str | None = None) -> list[dict[str, Any]]:
    return list(read_corpus(path, split).to_pylist())


def facts(path: Path) -> dict[str, Any]:
    return dict(read_table_manifest(path, "corpus", CORPUS).facts)


def test_splits_are_filled_to_their_quotas_and_grouped(workshop: Workshop) -> None:
    quotas = Quotas(train=60, validation=20, test=10)
    corpus = workshop.build(articles(300), quotas)
    assert split_counts(corpus) == {"train": 60, "validation": 20, "test": 10}
    assert [row["split"] for row in rows(corpus)] == ["train"] * 60 + ["validation"] * 20 + ["test"] * 10
    assert {row["lang"] for row in rows(corpus)} == {"tr"}
    assert facts(corpus)["filled"] == 1


def test_a_split_is_read_alone(workshop: Workshop) -> None:
    corpus = workshop.build(articles(100), Quotas(train=20, validation=10, test=10))
    whole = rows(corpus)
    for split in SPLITS:
        assert rows(corpus, split) == [row for row in whole if row["split"] == split]
    assert read_corpus(corpus, "test", ["text"]).to_pydict() == {"text": [row["text"] for row in whole[30:]]}


def test_a_share_of_the_documents_is_cut_short_and_the_others_stay_as_they_were(workshop: Workshop) -> None:
    plenty = Quotas(train=2_000, validation=100, test=100)
    long = passages_by_document(workshop.build(articles(300), plenty, chunk_tokens=200))
    mixed = passages_by_document(
        workshop.build(articles(300), plenty, chunk_tokens=200, short=ShortSettings(share=0.3, tokens=24))
    )
    teacher = workshop.folder / "teacher"
    cut = {document for document in long if mixed[document] != long[document]}
    assert 0.15 < len(cut) / len(long) < 0.35
    assert all(count_with_specials(teacher, text) <= 24 for document in cut for text in mixed[document])
    everything = workshop.build(articles(300), plenty, chunk_tokens=200, short=ShortSettings(share=1.0, tokens=24))
    assert all(count_with_specials(teacher, row["text"]) <= 24 for row in rows(everything))


def test_a_text_with_an_aligned_one_is_never_cut_short(workshop: Workshop) -> None:
    paired = [Document(made.id, made.text, made.text.upper()) for made in articles(60)]
    quotas, short = Quotas(train=60, validation=10, test=10), ShortSettings(share=1.0, tokens=8)
    whole = workshop.build(paired, quotas, chunk_tokens=500)
    before = rows(whole)
    assert rows(workshop.build(paired, quotas, chunk_tokens=500, short=short)) == before


def passages_by_document(corpus: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows(corpus):
        found.setdefault(row["id"].rpartition("#")[0], []).append(row["text"])
    return found


def test_passages_fit_the_teacher_and_documents_do_not_straddle_splits(workshop: Workshop) -> None:
    corpus = rows(workshop.build(articles(300), Quotas(train=100, validation=50, test=50), chunk_tokens=40))
    assert all(count_with_specials(workshop.folder / "teacher", row["text"]) <= 40 for row in corpus)
    splits: dict[str, set[str]] = {}
    for row in corpus:
        splits.setdefault(row["id"].rpartition("#")[0], set()).add(row["split"])
    assert any(row["id"].endswith("#1") for row in corpus)
    assert all(len(found) == 1 for found in splits.values())
    assert len({row["id"] for row in corpus}) == len(corpus)


def test_raised_quotas_only_append_to_each_split(workshop: Workshop) -> None:
    documents = articles(600)
    small = workshop.build(documents[:250], Quotas(train=60, validation=12, test=12), name="small")
    large = workshop.build(documents, Quotas(train=180, validation=36, test=36), name="large")
    for split in SPLITS:
        fewer, more = rows(small, split), rows(large, split)
        assert len(more) == 3 * len(fewer) > 0
        assert more[: len(fewer)] == fewer


def test_building_again_gives_the_same_bytes(workshop: Workshop) -> None:
    quotas = Quotas(train=50, validation=10, test=10)
    first = workshop.build(articles(150), quotas, name="first").read_bytes()
    assert workshop.build(articles(150), quotas, name="second").read_bytes() == first


def test_every_document_is_kept_or_counted(workshop: Workshop) -> None:
    rng = random.Random(7)
    long = sentences(rng, 30)
    documents = [
        Document("markup", "<br/>{{x}}"),
        Document("short", "abc"),
        Document("digits", "12 34 56 78 a"),
        Document("long", long),
        Document("again", long),
        Document("almost", long + " Son."),
        Document("wide", long[:90] + "x" * 10_000),
    ]
    cleaning = CleaningSettings(min_characters=5, max_characters=1500, near_duplicate_similarity=0.8)
    corpus = workshop.build(documents, Quotas(train=100, validation=0, test=0), cleaning, chunk_tokens=4000)
    assert [row["id"] for row in rows(corpus)] == ["long#0", "wide#0"]
    assert facts(corpus)["dropped"] == {
        "empty": 1, "short": 1, "few_letters": 1, "exact_duplicate": 1, "near_duplicate": 1
    }  # fmt: skip
    assert facts(corpus)["documents"] == {"sampled": 7, "read": 7, "cut": 1}
    assert facts(corpus)["characters"] == {"train": len(long) + 1500, "validation": 0, "test": 0}
    assert facts(corpus)["revision"] == "abc"


def test_pairs_are_cleaned_and_never_cut(workshop: Workshop) -> None:
    rng = random.Random(8)
    documents = [
        Document("good", "Merhaba <b>dünya</b>.", "Hello&nbsp;world."),
        Document("long text", sentences(rng, 9), "Short enough."),
        Document("long pair", "Yeterince kısa.", sentences(rng, 9)),
        Document("very long", sentences(rng, 90), "Short."),
        Document("no pair", "Tek başına.", "<br>"),
    ]
    cleaning = CleaningSettings(min_characters=5, max_characters=2000)
    corpus = workshop.build(documents, Quotas(train=10, validation=0, test=0), cleaning)
    assert [(row["id"], row["text"], row["pair"]) for row in rows(corpus)] == [
        ("good#0", "Merhaba dünya.", "Hello world.")
    ]
    assert facts(corpus)["dropped"] == {"too_long": 3, "unpaired": 1}


def test_too_little_text_shrinks_the_splits_in_proportion_and_says_so(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "langtailor"):
        corpus = workshop.build(articles(400), Quotas(train=6000, validation=2000, test=2000))
    counts = split_counts(corpus)
    total = sum(counts.values())
    assert counts["train"] / total == pytest.approx(0.6, abs=0.1)
    assert counts["test"] / total == pytest.approx(0.2, abs=0.1)
    assert facts(corpus)["filled"] == pytest.approx(total / 10_000, abs=1e-4)
    assert f"train {counts['train']:,} of 6,000" in caplog.text
    assert "All 400 documents of the source were read; dropped: exact_duplicate" in caplog.text


def test_a_sample_that_runs_out_before_its_source_is_called_a_sample(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "langtailor"):
        workshop.build(articles(20), Quotas(train=6000), wanted=20)
    assert "All 20 documents sampled were read" in caplog.text


@pytest.mark.parametrize("name", ["a", "b", "c", "d", "e", "f"])
def test_the_train_split_is_never_empty(workshop: Workshop, name: str) -> None:
    document = Document(name, "Merhaba dünya.")
    corpus = workshop.build([document], Quotas(train=1, validation=50, test=50))
    assert split_counts(corpus) == {"train": 1, "validation": 0, "test": 0}


def test_a_language_without_a_usable_passage_is_an_error(workshop: Workshop) -> None:
    with pytest.raises(
        SourceError, match=r"files source of language 'tr' leaves no passage: 2 documents read; .*short 2"
    ):
        workshop.build([Document("a", "abc"), Document("b", "d")], Quotas())
    assert not (workshop.folder / "corpus.parquet").exists()


def test_a_table_is_written_in_pieces_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "documents.parquet"
    batch = pa.record_batch([["a"], ["text"], [None]], schema=DOCUMENTS)
    with pytest.raises(ValueError, match="without a manifest"), table_writer(path, DOCUMENTS) as writer:
        writer.write(batch)
    assert list(tmp_path.iterdir()) == []
    with table_writer(path, DOCUMENTS) as writer:
        writer.write(batch)
        writer.seal(Manifest("documents", facts={"n": 1}))
    assert read_table_manifest(path, "documents", DOCUMENTS).facts == {"n": 1}


def test_damaged_documents_are_noticed(workshop: Workshop) -> None:
    quotas = Quotas(train=50, validation=10, test=10)
    corpus = workshop.build(articles(100), quotas)
    path = workshop.folder / "documents.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        build_corpus(path, workshop.folder / "teacher", "tr", 60, CLEANING, quotas, 1, corpus)


def test_a_corpus_with_a_flipped_bit_is_refused_or_reads_the_same(workshop: Workshop) -> None:
    """Some bits, such as those of statistics that nobody asks for, bear no content."""
    corpus = workshop.build(articles(100), Quotas(train=50, validation=10, test=10))
    whole, before, refused = corpus.read_bytes(), rows(corpus), 0
    places = range(0, len(whole), 97)
    for place in places:
        content = bytearray(whole)
        content[place] ^= 1
        corpus.write_bytes(content)
        try:
            assert rows(corpus) == before
        except ArtifactError:
            refused += 1
    assert refused > len(places) / 2
