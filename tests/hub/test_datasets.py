"""A sample of a data set of the Hub is spread over all of it, grows at its end and survives a break."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from langtailor.config.corpus import HubSource
from langtailor.corpus.dataset_sample import sample_documents
from langtailor.corpus.document import Document
from langtailor.corpus.documents import fetch_documents
from langtailor.errors import HubError, SourceError
from langtailor.sources.hub_client import Patience
from langtailor.storage.tables import DOCUMENTS, read_table
from tests.hub.repository import Repo
from tests.hub.server import Hub

BRISK = Patience(attempts=2, first_wait=0.01, longest_wait=2.0, timeout=5.0)
SOURCE = HubSource(kind="hub", dataset="wiki/pedia", subset="2023.{lang}")
GROUPS, ROWS = 10, 400
NAMES = ("2023.tr/train-00000-of-00002.parquet", "2023.tr/train-00001-of-00002.parquet")


def parquet(first: int, rows: int, group: int = ROWS, **columns: Any) -> bytes:
    """Articles numbered from ``first``; the title is as long as the text, so that it shows when it is fetched."""
    numbers = range(first, first + rows)
    defaults: dict[str, Any] = {
        "id": [str(number) for number in numbers],
        "title": [f"Title {number} {'t' * 200}" for number in numbers],
        "text": [f"Article {number} {'x' * 200}" for number in numbers],
    }
    table = pa.table({name: values for name, values in {**defaults, **columns}.items() if values is not None})
    stream = io.BytesIO()
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, stream, row_group_size=group, **options)
    return stream.getvalue()


def card(**patterns: str) -> bytes:
    """A README that names the files of each subset's train split."""
    subsets = "".join(
        f"- config_name: '{name}'\n  data_files:\n  - split: train\n    path: '{pattern}'\n"
        for name, pattern in patterns.items()
    )
    return f"---\nlicense: cc0-1.0\nconfigs:\n{subsets}---\n# Articles\n".encode()


WIKI_CARD = card(**{"2023.tr": "2023.tr/train-*", "2023.en": "2023.en/train-*"})


@pytest.fixture
def wiki(hub: Hub) -> Repo:
    files = {name: parquet(index * GROUPS * ROWS, GROUPS * ROWS) for index, name in enumerate(NAMES)}
    english = {"2023.en/train-00000-of-00001.parquet": parquet(10**6, 10)}
    return hub.dataset("wiki/pedia", {"README.md": WIKI_CARD, **files, **english})


def sample(
    work: Path, wanted: int, seed: int = 1, lang: str = "tr", **changes: Any
) -> tuple[list[Document], Mapping[str, Any]]:
    found = sample_documents(SOURCE.model_copy(update=changes), lang, wanted, seed, work, BRISK)
    return list(found.documents), found.facts


def numbers(documents: list[Document]) -> list[int]:
    return [int(document.id) for document in documents]


def ids(documents: list[Document]) -> set[str]:
    return {document.id for document in documents}


def test_the_sample_comes_from_all_over_the_data_set(wiki: Repo, tmp_path: Path) -> None:
    documents, facts = sample(tmp_path, 1_500)
    found = numbers(documents)
    assert len(set(found)) == 1_500
    groups = {number // ROWS for number in found}
    assert len(groups) == 6 and groups != set(range(6))
    assert {group // GROUPS for group in groups} == {0, 1}
    assert all(document.text.startswith(f"Article {document.id} ") for document in documents)
    assert facts == {
        "dataset": "wiki/pedia",
        "revision": wiki.refs["main"],
        "subset": "2023.tr",
        "split": "train",
        "files": {"opened": 2, "all": 2},
        "row_groups": {"read": 6, "all": 2 * GROUPS},
        "rows": {"read": 6 * ROWS, "all": 2 * GROUPS * ROWS},
    }


def test_rows_of_a_row_group_are_drawn_and_not_the_first(wiki: Repo, tmp_path: Path) -> None:
    places = sorted(number % ROWS for number in numbers(sample(tmp_path, 200)[0]))
    assert places[-1] > 300 and max(b - a for a, b in pairwise(places)) < 50


def test_the_sample_is_the_same_again_and_another_with_another_seed(wiki: Repo, tmp_path: Path) -> None:
    first, _ = sample(tmp_path / "a", 300)
    again, _ = sample(tmp_path / "b", 300)
    other, _ = sample(tmp_path / "b", 300, seed=2)
    assert again == first
    assert len(ids(other) & ids(first)) < 50


@pytest.mark.parametrize("more", [400, 4_000, 6_000])
def test_a_larger_sample_begins_with_the_smaller(wiki: Repo, tmp_path: Path, more: int) -> None:
    small, _ = sample(tmp_path, 300)
    large, _ = sample(tmp_path, more)
    assert large[:300] == small and len(ids(large)) == more


def test_all_there_is_can_be_had(wiki: Repo, tmp_path: Path) -> None:
    documents, facts = sample(tmp_path, 10**6)
    assert sorted(numbers(documents)) == list(range(2 * GROUPS * ROWS))
    assert facts["row_groups"] == {"read": 2 * GROUPS, "all": 2 * GROUPS}


def test_only_footers_and_the_columns_of_some_row_groups_are_fetched(hub: Hub, wiki: Repo, tmp_path: Path) -> None:
    _, facts = sample(tmp_path, 1_000)
    text_and_ids = facts["row_groups"]["read"] * ROWS * 230
    assert facts["row_groups"]["read"] == 4
    assert hub.sent(".parquet") < text_and_ids + 2 * 65_536 + 10_000
    assert all(request.range for request in hub.seen("Signature"))


def test_files_are_opened_by_and_by(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langtailor.corpus.dataset_sample._FILES_AT_ONCE", 8)
    files = {f"2023.tr/train-{index:05d}-of-00012.parquet": parquet(index * 10, 10) for index in range(12)}
    hub.dataset("wiki/pedia", {"README.md": WIKI_CARD, **files})
    small, facts = sample(tmp_path, 50)
    assert facts["files"] == {"opened": 8, "all": 12}
    assert len({number // 10 for number in numbers(small)}) == 5
    large, facts = sample(tmp_path, 1_000)
    assert facts["files"] == {"opened": 12, "all": 12}
    assert large[:50] == small and sorted(numbers(large)) == list(range(120))


def test_a_break_loses_only_the_row_group_at_hand(hub: Hub, wiki: Repo, tmp_path: Path) -> None:
    whole, _ = sample(tmp_path / "whole", 1_500)
    asked = [request.range for request in hub.seen("Signature")]
    hub.heal()
    sample(tmp_path / "broken", 900)
    before = len(hub.seen("Signature"))
    assert 0 < before < len(asked)
    hub.fail("Signature", times=99, status=503)
    with pytest.raises(HubError, match="503"):
        sample(tmp_path / "broken", 1_500)
    hub.heal()
    documents, _ = sample(tmp_path / "broken", 1_500)
    assert documents == whole
    assert [request.range for request in hub.seen("Signature")] == asked[before:]


def test_a_sample_that_is_there_is_taken_without_reading_the_data_again(hub: Hub, wiki: Repo, tmp_path: Path) -> None:
    first = sample(tmp_path, 700)
    hub.heal()
    assert sample(tmp_path, 700) == first
    assert not hub.seen(".parquet")


@pytest.mark.parametrize("damage", [b"", b"PAR1"])
def test_a_partial_file_is_not_taken_for_a_finished_one(hub: Hub, wiki: Repo, tmp_path: Path, damage: bytes) -> None:
    first = sample(tmp_path, 300)
    kept = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {path.suffix for path in kept} == {".parquet", ".footer"}
    for path in kept:
        path.write_bytes(damage)
    assert sample(tmp_path, 300) == first


@pytest.mark.parametrize(
    "change", [{"split": "test"}, {"text_field": "title"}, {"id_field": None}, {"pair_field": "title"}]
)
def test_what_was_kept_serves_no_other_question(hub: Hub, tmp_path: Path, change: dict[str, Any]) -> None:
    files = {"2023.tr/train-0.parquet": parquet(0, 50), "2023.tr/test-0.parquet": parquet(500, 50)}
    hub.dataset("wiki/pedia", files)
    sample(tmp_path, 50)
    assert sample(tmp_path, 50, **change) == sample(tmp_path / "fresh", 50, **change)


def test_a_revision_is_held_while_the_branch_moves_on(wiki: Repo, tmp_path: Path) -> None:
    old = wiki.refs["main"]
    before, _ = sample(tmp_path, 100)
    new = wiki.push({"README.md": WIKI_CARD, NAMES[0]: parquet(70_000, 500)})
    after, facts = sample(tmp_path, 100)
    assert facts["revision"] == new and min(numbers(after)) >= 70_000
    assert sample(tmp_path, 100, revision=old)[0] == before


@pytest.mark.parametrize("fault", [{"cut": 100}, {"reset": 100}, {"status": 503}, {"status": 429}])
def test_a_passing_trouble_changes_nothing(hub: Hub, wiki: Repo, tmp_path: Path, fault: dict[str, Any]) -> None:
    undisturbed = sample(tmp_path / "a", 500)
    for where in ("/tree/", "README.md", NAMES[0], NAMES[1]):
        hub.fail(where, **fault)
    assert sample(tmp_path / "b", 500) == undisturbed


def test_a_server_that_sends_whole_files_is_refused(hub: Hub, wiki: Repo, tmp_path: Path) -> None:
    hub.fail("Signature", times=99, whole=True)
    with pytest.raises(HubError, match="sends a whole file for a part of it"):
        sample(tmp_path, 100)


def test_damaged_parquet_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.dataset("wiki/pedia", {"2023.tr/train-0.parquet": b"PAR1 and no more"})
    with pytest.raises(SourceError, match=r"wiki/pedia: 2023\.tr/train-0\.parquet: cannot be read as Parquet"):
        sample(tmp_path, 10)


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00001.parquet"],
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
        ["train/0000.parquet", "train/0001.parquet"],
    ],
)
@pytest.mark.parametrize("folder", ["2023.tr/", ""])
def test_without_a_card_the_usual_layouts_are_understood(
    hub: Hub, tmp_path: Path, names: list[str], folder: str
) -> None:
    files = {folder + name: parquet(index * 100, 100) for index, name in enumerate(names)}
    hub.page_size = 3
    hub.dataset("wiki/pedia", {**files, "2023.en/test/0000.parquet": parquet(10**6, 5)} if folder else files)
    documents, _ = sample(tmp_path, 10**4, subset=SOURCE.subset if folder else "default")
    assert sorted(numbers(documents)) == list(range(100 * len(names)))


def test_the_card_says_where_a_subset_lies(hub: Hub, tmp_path: Path) -> None:
    files = {"odd/place-1.parquet": parquet(0, 100), "2023.tr/train-0.parquet": parquet(900, 100)}
    hub.dataset("wiki/pedia", {"README.md": card(**{"2023.tr": "odd/place-*.parquet"}), **files})
    documents, facts = sample(tmp_path, 50)
    assert facts["files"]["all"] == 1 and max(numbers(documents)) < 100


@pytest.mark.parametrize("pattern", ["https://elsewhere.example/x.parquet", "/etc/x.parquet", "../other/x.parquet"])
def test_a_card_leads_to_no_other_place(hub: Hub, tmp_path: Path, pattern: str) -> None:
    hub.dataset("wiki/pedia", {"README.md": card(**{"2023.tr": pattern})})
    with pytest.raises(SourceError, match="are outside the data set"):
        sample(tmp_path, 50)


def test_an_unknown_subset_lists_names_close_to_it(wiki: Repo, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no subset '2023\.tk'; close to it are 2023\.tr"):
        sample(tmp_path, 10, lang="tk")
    with pytest.raises(SourceError, match=r"has no subset 'Q'; there are 2023\.en, 2023\.tr\. Set `subset`"):
        sample(tmp_path, 10, subset="Q")


def test_an_unknown_folder_lists_the_folders(hub: Hub, tmp_path: Path) -> None:
    hub.dataset("wiki/pedia", {"tr/train-0.parquet": parquet(0, 9), "en/train-0.parquet": parquet(0, 9)})
    with pytest.raises(SourceError, match=r"has no subset '2023\.tr'; there are default, en, tr"):
        sample(tmp_path, 10)


def test_an_unknown_split_lists_the_splits(wiki: Repo, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"split 'test': there is no such split; there are train\."):
        sample(tmp_path, 10, split="test")


def test_a_missing_column_lists_those_there(wiki: Repo, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no column 'body'; it has id, title, text\. Set `text_field`"):
        sample(tmp_path, 10, text_field="body")
    with pytest.raises(SourceError, match=r"Set `id_field` .* `null` numbers the documents"):
        sample(tmp_path, 10, id_field="url")


def test_a_column_without_text_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.dataset("wiki/pedia", {"2023.tr/train-0.parquet": parquet(0, 3, text=[[1.5], [2.5], []])})
    with pytest.raises(SourceError, match=r"column 'text' of .* holds list<element: double> where text is needed"):
        sample(tmp_path, 10)


@pytest.mark.parametrize("with_card", [True, False])
def test_a_data_set_without_parquet_says_what_is_supported(hub: Hub, tmp_path: Path, with_card: bool) -> None:
    files = {"2023.tr/train.jsonl.gz": b"{}"}
    hub.dataset("wiki/pedia", {**files, "README.md": card(**{"2023.tr": "2023.tr/*"})} if with_card else files)
    message = r"has no Parquet files \(found: \.jsonl\.gz\), and only Parquet .* `revision: refs/convert/parquet`"
    with pytest.raises(SourceError, match=message):
        sample(tmp_path, 10)


def test_a_card_that_cannot_be_understood_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.dataset("wiki/pedia", {"README.md": b"---\nconfigs: 7\n---\n", "2023.tr/train-0.parquet": parquet(0, 9)})
    with pytest.raises(SourceError, match=r"README\.md: its `configs` cannot be understood"):
        sample(tmp_path, 10)


def test_an_unknown_or_gated_data_set_is_named_with_its_page(hub: Hub, wiki: Repo, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=f"{hub.endpoint}/datasets/wiki/none: there is no such dataset"):
        sample(tmp_path, 10, dataset="wiki/none")
    wiki.gated = True
    with pytest.raises(HubError, match=f"is gated: open {hub.endpoint}/datasets/wiki/pedia, log in"):
        sample(tmp_path, 10)


def test_blank_documents_are_passed_over(hub: Hub, tmp_path: Path) -> None:
    text = [f"Article {i}" if i % 3 == 0 else ("", None)[i % 2] for i in range(90)]
    pair = [" " if i % 2 else f"Artikel {i}" for i in range(90)]
    hub.dataset("wiki/pedia", {"2023.tr/train-0.parquet": parquet(0, 90, text=text, pair=pair)})
    assert sorted(numbers(sample(tmp_path, 90)[0])) == list(range(0, 90, 3))
    documents, _ = sample(tmp_path, 90, pair_field="pair")
    assert {(d.id, d.pair) for d in documents} == {(str(i), f"Artikel {i}") for i in range(0, 90, 6)}


def test_fields_of_a_column_are_named_by_their_path(hub: Hub, tmp_path: Path) -> None:
    translation = [None if i % 9 == 0 else {"tr": f"Madde {i}", "en": f"Article {i}", "de": "x"} for i in range(90)]
    hub.dataset("wiki/pedia", {"2023.tr/train-0.parquet": parquet(0, 90, translation=translation)})
    fields = {"text_field": "translation.tr", "pair_field": "translation.en"}
    documents, _ = sample(tmp_path / "a", 90, **fields)
    assert {(d.id, d.text, d.pair) for d in documents} == {
        (str(i), f"Madde {i}", f"Article {i}") for i in range(90) if i % 9
    }
    with pytest.raises(SourceError, match=r"no column 'translation\.fr'; it has id, title, text, translation\.tr, "):
        sample(tmp_path / "b", 10, text_field="translation.fr")
    with pytest.raises(SourceError, match=r"column 'translation' of .* holds struct<.*> where text is needed"):
        sample(tmp_path / "c", 10, text_field="translation")


def test_documents_without_ids_are_numbered_by_their_place(hub: Hub, tmp_path: Path) -> None:
    hub.dataset("wiki/pedia", {"2023.tr/train-0.parquet": parquet(0, 90, group=40, id=None)})
    documents, _ = sample(tmp_path, 90, id_field=None)
    place = {f"2023.tr/train-0.parquet:{i + 1}": f"Article {i} " for i in range(90)}
    assert ids(documents) == set(place)
    assert all(document.text.startswith(place[document.id]) for document in documents)


@pytest.mark.parametrize("kind", [pa.int64(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_ids_may_be_numbers_and_text_may_be_stored_in_any_way(hub: Hub, tmp_path: Path, kind: pa.DataType) -> None:
    values = pa.array(range(90)) if pa.types.is_integer(kind) else pa.array([str(i) for i in range(90)])
    column = values.dictionary_encode() if pa.types.is_dictionary(kind) else values.cast(kind)
    text = pa.array([f"Article {i}" for i in range(90)], pa.large_string())
    hub.dataset("wiki/pedia", {"2023.tr/train-0.parquet": parquet(0, 90, id=column, text=text)})
    assert sorted(numbers(sample(tmp_path, 90)[0])) == list(range(90))


def test_rows_without_an_id_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.dataset("wiki/pedia", {"2023.tr/train-0.parquet": parquet(0, 3, id=["1", None, "3"])})
    with pytest.raises(SourceError, match=r"train-0\.parquet has rows without 'id'; set `id_field: null`"):
        sample(tmp_path, 10)


def test_the_documents_of_a_language_record_where_they_come_from(wiki: Repo, tmp_path: Path) -> None:
    out = tmp_path / "documents.parquet"
    fetch_documents(SOURCE, "tr", "turkish", wanted=300, seed=1, out=out, work=tmp_path / "work")
    table, manifest = read_table(out, "documents", DOCUMENTS)
    assert table.num_rows == manifest.facts["documents"] == 300
    assert manifest.facts["revision"] == wiki.refs["main"] and manifest.facts["row_groups"]["read"] == 2
    assert [Document(**row) for row in table.to_pylist()] == sample(tmp_path / "work", 300)[0]
