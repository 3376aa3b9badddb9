"""Tables of the Hub: sentence pairs with scores, and queries with documents."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from langtailor.config.queries import HubPairs, QuerySettings
from langtailor.config.sentence_pairs import StsPairs
from langtailor.errors import HubError, SourceError
from langtailor.retrieval.pairs import Pairs
from langtailor.retrieval.pairs import read_pairs as read_queries
from langtailor.sources.sentence_pairs import read_pairs as read_scored_pairs
from tests.hub.repository import Repo
from tests.hub.server import Hub


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def parquet(**columns: list[object]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


@pytest.fixture
def questions(hub: Hub) -> Repo:
    rows = parquet(anchor=["q", "r", "s"], positive=["d", "e", "f"], negative=["e", "g", "d"])
    return hub.dataset("own/questions", {"data/train-00000-of-00001.parquet": rows})


@pytest.mark.usefixtures("questions")
def test_queries_with_documents_and_what_does_not_answer_them() -> None:
    settings = QuerySettings(negatives="negative")
    found = read_queries(HubPairs(dataset="own/questions", columns=("anchor", "positive")), settings)
    assert found == Pairs(("q", "r", "s"), ("d", "e", "g", "f"), ((0,), (1,), (3,)), ((1,), (2,), (0,)))


@pytest.mark.usefixtures("questions")
def test_a_split_can_be_cut_and_columns_can_be_those_of_all_sources() -> None:
    settings = QuerySettings(columns=("anchor", "positive"), negatives="absent")
    found = read_queries(HubPairs(dataset="own/questions", split="train[:1]"), settings)
    assert found == Pairs(("q",), ("d",), ((0,),), ((),))


def test_sentence_pairs_with_scores(hub: Hub) -> None:
    rows = parquet(sentence1=["a", "b", "c"], sentence2=["d", "e", "f"], score=[1.0, 2.0, 3.5])
    hub.dataset("own/pairs", {"data/validation-00000-of-00001.parquet": rows})
    found = read_scored_pairs(StsPairs(dataset="own/pairs", split="validation"))
    assert (found.first, found.second, found.gold.tolist()) == (("a", "b", "c"), ("d", "e", "f"), [1.0, 2.0, 3.5])


@pytest.mark.usefixtures("questions")
@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({}, "own/questions: no column 'query'; it has .'anchor', 'positive', 'negative'.. Name its columns"),
        ({"split": "test"}, "own/questions: subset None, split 'test' cannot be read: .*test"),
        ({"subset": "tr"}, "own/questions: subset tr, split 'train' cannot be read: .*tr"),
    ],
)
def test_what_is_not_there_is_named(place: dict[str, str], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        read_queries(HubPairs(dataset="own/questions", **place), QuerySettings())


@pytest.mark.usefixtures("questions")
def test_an_unknown_data_set_is_named_with_its_page() -> None:
    with pytest.raises(HubError, match="own/answers"):
        read_queries(HubPairs(dataset="own/answers"), QuerySettings())
