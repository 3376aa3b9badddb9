"""What is missing in a file of evaluation data is never read as a word: it is refused by file and line, or left out."""

import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from langtailor.config.sentence_pairs import StsPairs
from langtailor.errors import SourceError
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks.bitext import BitextTask
from langtailor.evaluation.tasks.classification import ClassificationTask
from langtailor.evaluation.tasks.clustering import ClusteringTask
from langtailor.sources.collection import UNNAMED, read_beir
from langtailor.sources.sentence_pairs import read_pairs
from langtailor.sources.table_files import Table, read_table, table_of

NULLS = [
    pytest.param("x.jsonl", '{"text": "a", "label": "b"}\n{"text": null, "label": "c"}\n', "line 2", id="null"),
    pytest.param("x.jsonl", '{"text": "a", "label": "b"}\n\n{"label": "c"}\n', "line 3", id="no key"),
    pytest.param("x.jsonl", '{"text": "a", "label": "b"}\n{"text": NaN, "label": "c"}\n', "line 2", id="NaN"),
    pytest.param("x.csv", "text,label\na,b\n,c\n", "line 3", id="empty cell"),
    pytest.param("x.tsv", "text\tlabel\na\tb\n \tc\n", "line 3", id="blank cell"),
    pytest.param("x.parquet", {"text": ["a", None], "label": ["b", "c"]}, "row 2", id="null in Parquet"),
    pytest.param("x.parquet", {"text": [1.0, float("nan")], "label": ["b", "c"]}, "row 2", id="NaN in Parquet"),
]


def write(path, content):
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "content", "place"), NULLS)
def test_a_missing_text_of_a_labelled_file_is_refused_by_its_line(tmp_path, name, content, place):
    file = write(tmp_path / name, content)
    with pytest.raises(SourceError, match=rf"{name}: {place}: 'text' is (null or missing|empty)$"):
        ClusteringTask(kind="clustering", path=str(file)).read(str(file))


def test_a_missing_label_is_refused_by_its_line(tmp_path):
    file = write(tmp_path / "x.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": null}\n')
    with pytest.raises(SourceError, match=r"x\.jsonl: line 2: 'label' is null or missing"):
        ClusteringTask(kind="clustering", path=str(file)).read(str(file))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"sentence1": null, "sentence2": "b", "score": 1}', "'sentence1' is null or missing"),
        ('{"sentence1": "a", "score": 1}', "'sentence2' is null or missing"),
        ('{"sentence1": "a", "sentence2": "b", "score": null}', "'score' is null or missing"),
        ('{"sentence1": "a", "sentence2": "b", "score": NaN}', "'score' is null or missing"),
        ('{"sentence1": "a", "sentence2": "b", "score": Infinity}', "'score' is inf, which is not a number"),
        ('{"sentence1": "a", "sentence2": ["b"], "score": 1}', "'sentence2' is a list where text is expected"),
    ],
)
def test_a_pair_without_a_sentence_or_a_score_is_refused_by_its_line(tmp_path, line, says):
    whole = json.dumps({"sentence1": "a", "sentence2": "b", "score": 1})
    file = write(tmp_path / "x.jsonl", "\n".join([whole, whole, line, whole]) + "\n")
    with pytest.raises(SourceError, match=rf"x\.jsonl: line 3: {says}"):
        read_pairs(StsPairs(path=str(file)))


@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_line_among_aligned_sentences_is_refused(tmp_path, blank):
    source = write(tmp_path / "a.txt", f"one\n{blank}\nthree\n")
    target = write(tmp_path / "b.txt", "bir\niki\nüç\n")
    task = BitextTask(kind="bitext", source=str(source), target=str(target))
    with pytest.raises(SourceError, match=r"a\.txt: line 2 is empty"):
        task.evaluate(None, Inputs())


def test_a_byte_order_mark_is_no_part_of_the_first_sentence(tmp_path):
    source, target = write(tmp_path / "a.txt", "\ufeffbir\niki\n"), write(tmp_path / "b.txt", "one\ntwo\n")
    texts = BitextTask(kind="bitext", source=str(source), target=str(target)).texts()
    assert list(texts) == ["bir", "iki", "one", "two"]


def test_a_file_without_sentences_is_refused(tmp_path):
    empty = write(tmp_path / "a.txt", "")
    with pytest.raises(SourceError, match=r"a\.txt: no sentences"):
        BitextTask(kind="bitext", source=str(empty), target=str(empty)).evaluate(None, Inputs())


# Retrieval.


def retrieval(tmp_path, corpus=(), queries=(), qrels=()):
    """What is read of files that hold these lines."""
    lines = {
        "corpus": corpus or ['{"_id": "d1", "text": "It crosses the strait."}'],
        "queries": queries or ['{"_id": "q1", "text": "what crosses the strait"}'],
        "qrels": ["query-id\tcorpus-id\tscore", *(qrels or ["q1\td1\t1"])],
    }
    suffixes = {"corpus": "jsonl", "queries": "jsonl", "qrels": "tsv"}
    files = {name: write(tmp_path / f"{name}.{suffixes[name]}", "\n".join(text)) for name, text in lines.items()}
    return read_beir(**files)


TITLED = '{"_id": "d1", "title": "Ferry", "text": "It crosses the strait."}'
NULL_TITLE = '{"_id": "d2", "title": null, "text": "It stays in port."}'
NO_TITLE = '{"_id": "d3", "text": "It was sold."}'


@pytest.mark.parametrize("lines", [(TITLED, NULL_TITLE, NO_TITLE), (NO_TITLE, NULL_TITLE, TITLED)])
def test_a_title_stands_before_the_text_of_each_document_that_has_one(tmp_path, lines):
    documents = retrieval(tmp_path, corpus=lines).documents[UNNAMED]
    expected = {TITLED: "Ferry It crosses the strait.", NULL_TITLE: "It stays in port.", NO_TITLE: "It was sold."}
    assert documents == tuple(expected[line] for line in lines)


def test_a_document_may_have_a_title_alone(tmp_path):
    documents = retrieval(tmp_path, corpus=['{"_id": "d1", "title": "Ferry", "text": ""}']).documents[UNNAMED]
    assert documents == ("Ferry",)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {"corpus": [TITLED, '{"_id": "d2", "title": "Boat", "text": null}']},
            r"corpus\.jsonl: line 2: 'text' is null or missing",
        ),
        ({"corpus": [TITLED, '{"_id": "d2", "title": "Boat"}']}, r"corpus\.jsonl: line 2: 'text' is null or missing"),
        ({"corpus": ['{"_id": "d1", "title": "\\ud83d", "text": "a"}']}, r"line 1: 'title' has half a surrogate pair"),
        (
            {"corpus": ['{"_id": "d1", "title": ["a"], "text": "a"}']},
            r"line 1: 'title' is a list where text is expected",
        ),
        ({"corpus": [TITLED, '{"text": "Boat"}']}, r"corpus\.jsonl: line 2: '_id' is null or missing"),
        ({"corpus": [TITLED, "", TITLED]}, r"corpus\.jsonl: line 3: the `_id` 'd1' appears twice"),
        ({"corpus": [TITLED, "[1]"]}, r"corpus\.jsonl: cannot be read as a table: line 2: a JSON list where an object"),
        ({"queries": ['{"_id": "q1", "text": " "}']}, r"queries\.jsonl: line 1: 'text' is empty"),
        ({"qrels": ["q1\td1\t"]}, r"qrels\.tsv: line 2: 'score' is '', which is not a number"),
        ({"qrels": ["q1\td1\tnan"]}, r"qrels\.tsv: line 2: 'score' is 'nan', which is not a number"),
        ({"qrels": ["q1\t\t1"]}, r"qrels\.tsv: line 2: 'corpus-id' is empty"),
        ({"qrels": ["q1\td1"]}, r"qrels\.tsv: cannot be read as a table: line 2 has 2 columns where 3 are expected"),
    ],
)
def test_what_is_missing_in_a_retrieval_file_is_refused_by_file_and_line(tmp_path, files, says):
    with pytest.raises(SourceError, match=says):
        retrieval(tmp_path, **files)


def test_judgements_of_unknown_documents_and_queries_are_left_out_and_counted(tmp_path, caplog):
    lines = ["q1\td1\t1", "q1\tgone\t1", "other\td1\t1", "q1\tgone too\t0"]
    with caplog.at_level(logging.WARNING, "langtailor"):
        collection = retrieval(tmp_path, qrels=lines)
    assert collection.relevant == {UNNAMED: ({0: 1.0},)}
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "3 of 4 judgements are left out, because the other files have no such query or document"
    )
    assert record.getMessage().endswith("qrels.tsv: line 3: query 'q1', document 'gone'")


# Tables.


def test_text_is_taken_as_it_stands_in_every_kind_of_file(tmp_path):
    expected = {"a": ["NA", "null", "1e3", "01"], "b": ["x", "y", "z", 'quoted "']}
    rows = list(zip(*expected.values(), strict=True))
    write(tmp_path / "t.tsv", "a\tb\n" + "".join("\t".join(row) + "\n" for row in rows))
    write(tmp_path / "t.csv", 'a,b\nNA,x\nnull,y\n1e3,z\n01,"quoted """\n')
    write(tmp_path / "t.JSONL", "".join(json.dumps(dict(zip("ab", row, strict=True))) + "\n" for row in rows))
    write(tmp_path / "t.parquet", expected)
    for name in ("t.tsv", "t.csv", "t.JSONL", "t.parquet"):
        table = read_table(tmp_path / name, ("b", "a"))
        assert {column: table.texts(column) for column in "ab"} == expected, name


@pytest.mark.parametrize("read", [Table.texts, Table.text_lists])
def test_half_a_surrogate_pair_is_refused_by_its_line(tmp_path, read):
    table = read_table(write(tmp_path / "t.jsonl", '{"a": "x"}\n{"a": "\\ud83d\\ude00 \\ud83d"}\n'), ("a",))
    with pytest.raises(SourceError, match=r"t\.jsonl: line 2: 'a' has half a surrogate pair at character 3"):
        read(table, "a")


def test_numbers_stand_for_themselves_where_text_is_expected(tmp_path):
    file = write(tmp_path / "t.jsonl", '{"label": 1}\n{"label": 2.5}\n{"label": true}\n')
    assert read_table(file, ("label",)).texts("label") == ["1", "2.5", "True"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", "a,b\n1,2,3\n", "cannot be read as a table: line 2 has 3 columns where 2 are expected"),
        ("x.csv", "a,b\n1\n", "cannot be read as a table: line 2 has 1 columns where 2 are expected"),
        ("x.csv", "a,c\n", r"no column 'b'; it has \['a', 'c'\]"),
        ("x.csv", "", "cannot be read as a table: it is empty"),
        ("x.jsonl", '{"a": 1}\n{"a": 2}\n', r"no column 'b'; it has \['a'\]"),
        ("x.jsonl", '{"a": 1, "b": 2}\n{"a"\n', "cannot be read as a table: line 2: "),
        ("x.jsonl", "[" * 100_000 + "\n", r"cannot be read as a table: line 1: is not JSON \("),
        ("x.csv", "a,b,a\n1,2,3\n", "has more than one column 'a'; rename or remove all but one"),
        ("x.tsv", "a\tb\tb\n1\t2\t3\n", "has more than one column 'b'"),
        ("x.parquet", {"a": [1]}, r"no column 'b'; it has \['a'\]"),
        ("x.parquet", "text", "cannot be read as a table: "),
    ],
)
def test_a_table_that_cannot_be_read_says_why(tmp_path, name, content, says):
    with pytest.raises(SourceError, match=rf"{name}: {says}"):
        read_table(write(tmp_path / name, content), ("a", "b"))


@pytest.mark.parametrize(
    ("rows", "line"),
    [('1,fine\n2,"12 inch" pipes\n3,c\n', 3), ('1,fine\n\n2,"starts here\n3,c\n', 4), ('1,"two\nlines"\n2,"x\n', 4)],
)
def test_a_quotation_mark_that_is_not_closed_is_refused_by_its_line(tmp_path, rows, line):
    file = write(tmp_path / "x.csv", f"a,b\n{rows}")
    with pytest.raises(SourceError, match=rf"x\.csv, line {line}: is not CSV .*a quotation mark must be quoted"):
        read_table(file, ("a", "b"))


def test_columns_that_are_not_read_may_have_one_name(tmp_path):
    assert read_table(write(tmp_path / "x.csv", "a,b,,\n1,2,,\n"), ("a", "b")).texts("b") == ["2"]


def test_a_name_that_two_columns_of_a_parquet_file_have_is_refused(tmp_path):
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"]), pa.array([1])], names=["text", "text", "label"])
    pq.write_table(twice, tmp_path / "x.parquet")
    with pytest.raises(SourceError, match=r"x\.parquet: has more than one column 'text'"):
        read_table(tmp_path / "x.parquet", ("text", "label"))


def test_a_cell_may_be_longer_than_the_csv_modules_limit(tmp_path):
    file = write(tmp_path / "x.csv", f"a\n{'word ' * 50_000}\n")
    assert len(read_table(file, ("a",)).texts("a")[0]) == 250_000


def test_rows_of_a_data_set_are_counted_from_one():
    table = table_of("owner/name", "row", enumerate([{"a": "x"}, {"a": None}], start=1), ("a",))
    with pytest.raises(SourceError, match="owner/name: row 2: 'a' is null or missing"):
        table.texts("a")


# Labels.


class AnyModel:
    """Gives texts vectors that say whether they begin with an a."""

    resamples, seed = 0, 1

    def vectors(self, texts, *_):
        return np.array([[text.startswith("a"), 1] for text in texts], np.float32)


def classification(tmp_path, train, test):
    """A task on files of texts with these labels, the texts of the first label beginning with an a."""
    files = {}
    for part, labels in (("train", train), ("test", test)):
        texts = [f"{'a' if label == labels[0] else 'b'} {row}" for row, label in enumerate(labels)]
        files[part] = str(write(tmp_path / f"{part}.parquet", {"text": texts, "label": labels}))
    return ClassificationTask(kind="classification", **files)


def test_labels_that_training_has_none_of_are_refused(tmp_path):
    task = classification(tmp_path, ["good", "bad"], ["Good", "Bad"])
    with pytest.raises(SourceError, match=r"test\.parquet: none of its labels, such as 'Bad', is in .*train\.parquet"):
        task.evaluate(AnyModel(), Inputs())


def test_labels_that_training_lacks_are_named(tmp_path, caplog):
    task = classification(tmp_path, ["good", "bad"], ["good", "bad", "other", "other"])
    with caplog.at_level(logging.WARNING, "langtailor"):
        (accuracy, _) = task.evaluate(AnyModel(), Inputs()).scores
    assert accuracy.value == 50
    assert "test.parquet: 1 of 3 labels, such as 'other', are not in" in caplog.text
    assert "their 2 texts cannot be classified" in caplog.text


@pytest.mark.parametrize("test", [[1, 2], ["1", "2"], ["1.0", "2.00"]])
def test_a_whole_number_is_one_label_however_it_is_written(tmp_path, test, caplog):
    task = classification(tmp_path, [1.0, 2.0], test)
    assert task.evaluate(AnyModel(), Inputs()).scores[0].value == 100
    assert not caplog.records
