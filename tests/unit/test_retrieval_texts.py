"""Queries and documents: from the user's files, or made of a corpus; cleaned, deduplicated and split."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from langtailor.config.queries import QuerySettings
from langtailor.corpus.reading import read_corpus, split_counts
from langtailor.errors import SourceError
from langtailor.retrieval.pairs import Pairs, part_of, read_pairs, synthetic_pairs
from langtailor.retrieval.texts import write_texts
from langtailor.storage.tables import ANSWERS, CORPUS, read_table, read_table_manifest
from langtailor.student.prompt import name_role_prompts
from tests.unit.distillation_world import write_corpus

PAIRS = Pairs(("Where is it?", "Who came?"), ("It is here.", "She came.", "It is here, too."), ((0, 2), (1,)), ((), ()))
ROWS = [("Where is it?", "It is here."), ("Who came?", "She came."), ("Where is it?", "It is here, too.")]


def write_rows(path: Path) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"query": query, "document": document}) + "\n" for query, document in ROWS))
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"query": [query for query, _ in ROWS], "document": [text for _, text in ROWS]}), path)
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        quoted = [[f'"{text}"' for text in row] if separator == "," else row for row in ROWS]
        path.write_text("\n".join(map(separator.join, [("query", "document"), *quoted])) + "\n")
    return path


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl", "parquet"])
def test_equal_queries_and_documents_of_a_table_are_one(tmp_path, suffix):
    found = read_pairs(str(write_rows(tmp_path / f"pairs.{suffix}")), QuerySettings())
    assert (set(found.queries), set(found.documents)) == (set(PAIRS.queries), set(PAIRS.documents))
    answers = {
        query: {found.documents[row] for row in rows} for query, rows in zip(found.queries, found.answers, strict=True)
    }
    assert answers == {"Where is it?": {"It is here.", "It is here, too."}, "Who came?": {"She came."}}


def test_documents_that_a_source_calls_wrong_are_documents_too(tmp_path):
    file = tmp_path / "pairs.jsonl"
    rows = [{"query": "q", "document": "d", "hard": ["e", "f"]}, {"query": "r", "document": "e"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_pairs(str(file), QuerySettings(negatives="hard"))
    assert found == Pairs(("q", "r"), ("d", "e", "f"), ((0,), (1,)), ((1, 2), ()))


def test_one_wrong_document_needs_no_list(tmp_path):
    file = tmp_path / "pairs.tsv"
    file.write_text("query\tdocument\tnegative\nq\td\te\n")
    found = read_pairs(str(file), QuerySettings(negatives="negative"))
    assert found == Pairs(("q",), ("d", "e"), ((0,),), ((1,),))


def test_a_column_of_negatives_that_no_row_has_is_named(tmp_path, caplog):
    file = tmp_path / "pairs.csv"
    file.write_text("query,document,negative\na?,A.,B.\n", encoding="utf-8")
    assert read_pairs(str(file), QuerySettings(negatives="negatives")).negatives == ((),)
    assert "pairs.csv: no row has the column 'negatives' of queries.negatives" in caplog.text
    caplog.clear()
    assert read_pairs(str(file), QuerySettings(negatives="negative")).negatives == ((1,),)
    assert not caplog.records


def test_questions_about_paragraphs_are_pairs(tmp_path):
    file = tmp_path / "squad.json"
    paragraph = {"context": "It is here.", "qas": [{"id": "1", "question": "Where?"}, {"id": "2", "question": "What?"}]}
    file.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    assert read_pairs(str(file), QuerySettings()) == Pairs(
        ("Where?", "What?"), ("It is here.",), ((0,), (0,)), ((), ())
    )


def test_a_folder_as_beirs_is_pairs(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "one"}\n{"_id": "d2", "text": "two"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "first?"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\n")
    settings = QuerySettings(pairs={"tr": str(tmp_path)})
    assert read_pairs(str(tmp_path), settings) == Pairs(("first?",), ("one", "two"), ((1,),), ((),))
    assert [Path(file).name for file in settings.files("tr")] == ["corpus.jsonl", "queries.jsonl", "train.tsv"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("query\tdocument\n", "has no lines with values"),
        ("question\tdocument\na\tb\n", "no column 'query'"),
        ("query\tdocument\n \tb\n", "'query' is empty"),
    ],
)
def test_a_file_without_pairs_is_named(tmp_path, rows, message):
    file = tmp_path / "pairs.tsv"
    file.write_text(rows)
    with pytest.raises(SourceError, match=message) as error:
        read_pairs(str(file), QuerySettings())
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "One sentence is here. Another one follows it. A third ends it.",
        "no stop in this text of many short words at all",
        "これは長い文章ですが区切りがなく続いていくものです",
    ],
    ids=["sentences", "words", "no white space"],
)
def test_a_part_of_a_text_is_in_it_and_is_not_all_of_it(text):
    parts = {part_of(text, number) for number in range(50)}
    assert len(parts) > 1
    assert all(part in text and len(part) < len(text) for part in parts)


def test_no_query_is_made_of_a_short_text(tmp_path):
    assert part_of("Too short", 3) is None
    corpus = tmp_path / "en.parquet"
    write_corpus(corpus, "en", (40, 4, 4))
    pairs = synthetic_pairs(corpus, 10, seed=1)
    assert len(pairs.queries) <= 10
    texts = set(read_corpus(corpus, "train")["text"].to_pylist())
    for query, (answer,) in zip(pairs.queries, pairs.answers, strict=True):
        assert query in pairs.documents[answer]
        assert pairs.documents[answer] in texts
    assert synthetic_pairs(corpus, 10, seed=1) == pairs
    assert synthetic_pairs(corpus, 10, seed=2) != pairs


def out(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{name}.parquet" for name in ("queries", "documents", "answers")}


def written(folder: Path, pairs: Pairs, held_out=(), **settings) -> dict[str, dict[str, list[str]]]:
    """By query, its split and the documents that answer it, as they were written."""
    paths = out(folder)
    write_texts(pairs, "en", held_out, QuerySettings(**settings), 1, paths)
    documents = read_corpus(paths["documents"]).to_pylist()
    queries = read_corpus(paths["queries"]).to_pylist()
    links, _ = read_table(paths["answers"], "answers", ANSWERS)
    assert links["id"].to_pylist() == [query["id"] for query in queries]
    found = {}
    for query, rows in zip(queries, links["answers"].to_pylist(), strict=True):
        assert documents[rows[0]]["split"] == query["split"]
        found[query["text"]] = [documents[row]["text"] for row in rows]
    return found


def many(count: int) -> Pairs:
    queries = tuple(f"What is the number {number}, in all its glory?" for number in range(count))
    documents = tuple(
        f"{number} * {number} equals {number * number}, which took {number} days." for number in range(count)
    )
    return Pairs(queries, documents, tuple((row,) for row in range(count)), ((),) * count)


def test_answers_stay_with_their_queries_whatever_the_splits(tmp_path):
    pairs = many(60)
    found = written(tmp_path, pairs, validation=0.3, near_duplicate_similarity=None)
    assert found == {query: [pairs.documents[row]] for row, query in enumerate(pairs.queries)}
    counts = split_counts(out(tmp_path)["queries"])
    assert 5 < counts["validation"] < 35
    assert counts["train"] + counts["validation"] == 60
    splits = read_corpus(out(tmp_path)["queries"])["split"].to_pylist()
    assert splits == sorted(splits), "train stands before validation"


def test_what_an_evaluation_asks_or_answers_with_is_left_out(tmp_path):
    pairs = many(6)
    held_out = [f"  {pairs.queries[2].upper()}", pairs.documents[4]]
    found = written(tmp_path, pairs, held_out, near_duplicate_similarity=None, validation=0)
    assert list(found) == [pairs.queries[row] for row in (0, 1, 3, 5)]
    facts = {
        side: read_table_manifest(out(tmp_path)[side], "corpus", CORPUS).facts for side in ("queries", "documents")
    }
    assert facts["queries"]["dropped"] == {"exact_duplicate": 1, "unanswered": 1}
    assert facts["documents"]["dropped"] == {"exact_duplicate": 1}


def test_what_is_nearly_in_an_evaluation_is_left_out(tmp_path):
    long = "The old stone bridge over the small river was built long before anyone wrote down who had paid for it"
    pairs = Pairs(("Who paid for the bridge?", "Who came?"), (f"{long}.", "She came."), ((0,), (1,)), ((), ()))
    assert list(written(tmp_path, pairs, [f"{long}, then"], validation=0)) == ["Who came?"]


def test_white_space_makes_no_other_text_and_markup_goes(tmp_path):
    pairs = Pairs(("Who <b>came</b>?", "Who  came?"), ("She came.",), ((0,), (0,)), ((), ()))
    assert written(tmp_path, pairs, validation=0) == {"Who came?": ["She came."]}


def test_documents_that_answer_no_query_are_counted(tmp_path):
    pairs = Pairs(("Who came?",), ("Nobody asks.", "She came.", "He did.", " ", "Nobody  asks."), ((1,),), ((2,),))
    assert written(tmp_path, pairs, validation=0) == {"Who came?": ["She came."]}
    assert set(read_corpus(out(tmp_path)["documents"])["text"].to_pylist()) == {"She came.", "He did."}
    facts = read_table_manifest(out(tmp_path)["documents"], "corpus", CORPUS).facts
    assert facts["dropped"] == {"answers_no_query": 1}


def test_nothing_left_to_train_on_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="queries of en: none of 2 is left to train on; dropped: exact_duplicate 2"):
        written(tmp_path, PAIRS, PAIRS.queries)


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [
        ({}, ("query: ", "passage: "), {"query": "query: ", "document": "passage: "}),
        ({"query": "", "document": ""}, ("q: ", ""), {"query": "q: ", "document": ""}),
        ({"search": "find: "}, ("search", None), {"query": "find: ", "search": "find: "}),
        ({"query": "own: "}, (None, "d: "), {"query": "own: ", "document": "d: "}),
        ({"query": "own: ", "sts": "s: "}, ("Frage: ", None), {"query": "Frage: ", "sts": "s: "}),
        ({"query": "own: ", "sts": "s: "}, ("sts", None), {"query": "s: ", "sts": "s: "}),
    ],
)
def test_the_students_folder_names_the_prompts_of_queries_and_documents(tmp_path, own, asked, expected):
    file = tmp_path / "config_sentence_transformers.json"
    file.write_text(json.dumps({"prompts": own, "similarity_fn_name": "cosine"}))
    name_role_prompts(tmp_path, {"query_prompt": asked[0], "document_prompt": asked[1]})
    assert json.loads(file.read_text()) == {"prompts": expected, "similarity_fn_name": "cosine"}
