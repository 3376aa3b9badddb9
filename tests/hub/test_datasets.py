"""A sample of a data set is spread over all of it, grows at its end, and survives a break."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from langtailor.config import HubSource
from langtailor.corpus.hub import sample_documents
from langtailor.errors import HubError, SourceError
from tests.hub.server import COMMIT, Fault, Repository

SOURCE = HubSource(kind="hub", dataset="owner/wiki", subset="2023.{lang}")
ROWS, GROUP = 2_000, 400


def parquet(start, rows=ROWS, **columns):
    table = pa.table(
        {
            "id": [str(i) for i in range(start, start + rows)],
            "title": ["x" * 200] * rows,
            "text": [f"Article number {i} about something." for i in range(start, start + rows)],
            **columns,
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=GROUP, compression="none", use_dictionary=False)
    return sink.getvalue()


def card(**folders):
    """A data set card that names each subset's files, as that of wikimedia/wikipedia does."""
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: '{pattern}'\n"
        for name, pattern in folders.items()
    )
    return f"---\nconfigs:\n{configs}---\n# Wiki\n".encode()


@pytest.fixture
def served(hub):
    hub.datasets["owner/wiki"] = Repository(
        {
            "README.md": card(**{"2023.tr": "2023.tr/train-*", "2023.en": "2023.en/train-*"}),
            "2023.tr/train-00000-of-00002.parquet": parquet(0),
            "2023.tr/train-00001-of-00002.parquet": parquet(ROWS),
            "2023.en/train-00000-of-00001.parquet": parquet(5_000),
        }
    )
    return hub


def sample(tmp_path, wanted, **changes):
    source = SOURCE.model_copy(update=changes)
    found = sample_documents(source, "tr", wanted, seed=1, work=tmp_path / "work")
    return list(found.documents), found.facts


def test_the_sample_is_spread_over_files_and_row_groups(served, tmp_path):
    documents, facts = sample(tmp_path, 1_500)
    numbers = [int(document.id) for document in documents]
    assert len(set(numbers)) == 1_500
    assert {number // ROWS for number in numbers} == {0, 1}
    assert len({number // GROUP for number in numbers}) >= 5, "no row group is read to its end before the next"
    assert facts["revision"] == COMMIT
    assert facts["row_groups"]["all"] == 10
    assert facts["row_groups"]["read"] < 10


def test_a_larger_sample_starts_with_the_smaller_one(served, tmp_path):
    small, _ = sample(tmp_path / "a", 600)
    large, _ = sample(tmp_path / "b", 2_400)
    assert large[:600] == small
    assert len({document.id for document in large}) == 2_400


def test_all_there_is_can_be_had(served, tmp_path):
    documents, _ = sample(tmp_path, 10_000)
    assert sorted(int(document.id) for document in documents) == list(range(2 * ROWS))


def test_only_the_columns_and_row_groups_that_are_needed_are_fetched(served, tmp_path):
    sample(tmp_path, 30)
    size = sum(len(data) for path, data in served.datasets["owner/wiki"].files.items() if ".tr/" in path)
    ranges = [r.removeprefix("bytes=").split("-") for _, path, r in served.requests if r and "resolve" in path]
    assert ranges
    assert sum(int(end) - int(start) + 1 for start, end in ranges) < 0.7 * size


def test_a_break_loses_only_the_row_group_at_hand(served, tmp_path):
    # The third row group breaks off for good.
    served.faults += [Fault("train-0", 3, seconds=0.0), Fault("train-0", 1_000, 503)]
    with pytest.raises(HubError, match="503"):
        sample(tmp_path, 1_500)
    served.faults.clear()
    served.requests.clear()
    documents, _ = sample(tmp_path, 1_500)
    resumed = served.fetched("resolve")
    served.requests.clear()
    whole = list(sample_documents(SOURCE, "tr", 1_500, seed=1, work=tmp_path / "fresh").documents)
    assert documents == whole
    assert 0 < resumed < served.fetched("resolve")


def test_a_connection_cut_in_mid_row_group_is_taken_up_again(served, tmp_path):
    served.faults.append(Fault("train-00000", 2, cut_after=300))
    documents, _ = sample(tmp_path, 100)
    assert len(documents) == 100


def test_a_busy_hub_in_the_middle_is_waited_for(served, tmp_path):
    served.faults.append(Fault("resolve", 3, 503))
    assert len(sample(tmp_path, 100)[0]) == 100


def test_an_unknown_subset_lists_close_names(served, tmp_path):
    with pytest.raises(SourceError, match=r"subset '2023\.tk'.*2023\.tr"):
        sample_documents(SOURCE, "tk", 10, seed=1, work=tmp_path)


def test_a_missing_column_lists_those_there(served, tmp_path):
    with pytest.raises(SourceError, match=r"no column 'body'; it has id, title, text"):
        sample(tmp_path, 10, text_field="body")


def test_a_data_set_without_parquet_says_what_is_supported(served, tmp_path):
    served.datasets["owner/wiki"] = Repository({"README.md": card(**{"2023.tr": "*.csv"}), "data.csv": b"a,b"})
    with pytest.raises(SourceError, match="has no Parquet files"):
        sample(tmp_path, 10)


def test_an_unknown_data_set_is_named(served, tmp_path):
    with pytest.raises(HubError, match="owner/none: there is no such dataset"):
        sample(tmp_path, 10, dataset="owner/none")


def test_the_card_says_where_a_subset_lies(served, tmp_path):
    served.datasets["owner/wiki"] = Repository(
        {
            "README.md": card(**{"2023.tr": "odd/place-*.parquet"}),
            "odd/place-1.parquet": parquet(0, 100),
            "2023.tr/train-0.parquet": parquet(900, 100),
        }
    )
    documents, facts = sample(tmp_path, 50)
    assert facts["files"] == {"opened": 1, "all": 1}
    assert all(int(document.id) < 100 for document in documents)


def test_pairs_and_numbered_documents(served, tmp_path):
    data = parquet(0, 100, english=[f"English {i}" for i in range(100)])
    served.datasets["owner/wiki"] = Repository({"README.md": card(**{"2023.tr": "x/*"}), "x/train-0.parquet": data})
    documents, _ = sample(tmp_path, 20, id_field=None, pair_field="english")
    assert all(document.pair.removeprefix("English ") in document.text for document in documents)
    assert len({document.id for document in documents}) == 20
