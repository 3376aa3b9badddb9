"""Retrieval from SQuAD-like files, across languages, and with one side left to the teacher: the figures by other means."""

import json
import re
import shutil
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from langtailor.config.evaluation import parse_task
from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ArtifactError, SourceError
from langtailor.evaluation.comparison import read_comparisons
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.run import run_task, teacher_vectors
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks.retrieval import RetrievalTask
from langtailor.export.evaluator import ExportEvaluator
from langtailor.export.format import find_format
from langtailor.export.formats import register_formats
from langtailor.export.onnx.client import OnnxClient
from langtailor.export.onnx.graph import write_graph
from langtailor.models.loading import load_teacher
from langtailor.report.language_matrix import language_matrices
from langtailor.report.page import environment
from langtailor.report.scores import score_tables
from langtailor.sources.collection import language_pair, pair_group, read_squad
from langtailor.storage.artifacts import Manifest, seal_directory
from tests.models import GEMMA_PROMPTS, make_tiny_bert_teacher, make_tiny_gemma_teacher
from tests.reading import Page
from tests.unit.surgery_teachers import TARGET, TEXTS

PARAGRAPHS = {"en": [*TEXTS][:12], "tr": [*TARGET][:12]}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = make_tiny_bert_teacher(tmp_path_factory.mktemp("teacher") / "model")
    seal_directory(folder, Manifest("teacher"))
    return folder


@pytest.fixture(scope="module")
def student(teacher, tmp_path_factory):
    """The teacher with other weights in its word embeddings."""
    folder = tmp_path_factory.mktemp("student") / "model"
    shutil.copytree(teacher, folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    noise = np.random.default_rng(0).standard_normal(weights[name].shape).astype(np.float32)
    save_file({**weights, name: weights[name] + 0.2 * noise}, folder / "model.safetensors", {"format": "pt"})
    seal_directory(folder, Manifest("clone"))
    return folder


@pytest.fixture
def files(tmp_path):
    """A file of each language: two questions about every paragraph, parts of it, with the same ids in both."""
    for lang, paragraphs in PARAGRAPHS.items():
        asked = [[text[:20], text[10:30]] for text in paragraphs]
        write_squad(tmp_path / f"{lang}.json", list(zip(paragraphs, asked, strict=True)))
    return {lang: str(tmp_path / f"{lang}.json") for lang in PARAGRAPHS}


def write_squad(path, paragraphs):
    """A file of one article; the questions of paragraph 3 have the ids `3-0`, `3-1` and so on."""
    content = [
        {"context": context, "qas": [{"id": f"{row}-{n}", "question": text} for n, text in enumerate(asked)]}
        for row, (context, asked) in enumerate(paragraphs)
    ]
    path.write_text(json.dumps({"data": [{"title": "One", "paragraphs": content}]}), encoding="utf-8")


def evaluator_of(model, prompt=None):
    return Evaluator(model, TeacherSettings(model="tiny", prompt=prompt), resamples=20, seed=1, device="cpu")


def ndcg_by_library(model, queries, documents):
    """nDCG@10, times 100, of sentence-transformers for two questions about each document."""
    named = {f"q{row}": text for row, text in enumerate(queries)}
    relevant = {f"q{row}": {f"d{row // 2}"} for row in range(len(queries))}
    corpus = {f"d{row}": text for row, text in enumerate(documents)}
    library = InformationRetrievalEvaluator(named, corpus, relevant, write_csv=False)
    return 100 * library(SentenceTransformer(str(model), device="cpu"))["cosine_ndcg@10"]


def ndcg_by_hand(queries, documents):
    """The same from vectors."""
    similarities = queries @ documents.T
    right = similarities[np.arange(len(queries)), np.arange(len(queries)) // 2]
    ranks = 1 + (similarities > right[:, None]).sum(axis=1)
    return 100 * np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0).mean()


def ndcg(result):
    return {score.group: score.value for score in result.scores if score.metric == "ndcg@10"}


# Files.


def test_questions_are_queries_that_the_paragraph_around_them_answers(tmp_path):
    write_squad(tmp_path / "a.json", [("One.", ["a?", "b?"]), ("\ufeffTwo. ", ["c?"]), ("One.", ["d?"])])
    collection = read_squad({"en": tmp_path / "a.json"})
    assert collection.queries == {"en": ("a?", "b?", "c?", "d?")}
    assert collection.documents == {"en": ("One.", "Two.")}, "of equal paragraphs there is one"
    assert collection.relevant == {"en": ({0: 1.0}, {0: 1.0}, {1: 1.0}, {0: 1.0})}


def test_a_question_without_an_answer_is_no_query(tmp_path):
    questions = [{"id": "1", "question": "a?", "is_impossible": True}, {"id": "2", "question": "b?"}]
    content = {"data": [{"paragraphs": [{"context": "One.", "qas": questions}]}]}
    (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_squad({"en": tmp_path / "a.json"}).queries == {"en": ("b?",)}


def test_languages_are_joined_by_the_ids_of_questions(tmp_path, caplog):
    write_squad(tmp_path / "en.json", [("One.", ["a?", "b?"]), ("Two.", ["c?"])])
    write_squad(tmp_path / "tr.json", [("Bir.", ["A?"]), ("İki.", ["C?"])])
    collection = read_squad({lang: tmp_path / f"{lang}.json" for lang in ("en", "tr")})
    assert collection.queries == {"en": ("a?", "c?"), "tr": ("A?", "C?")}
    assert collection.relevant == {"en": ({0: 1.0}, {1: 1.0}), "tr": ({0: 1.0}, {1: 1.0})}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/en.json: 1 of 3 questions are left out, because another file lacks them"
    ]


def test_a_numeric_question_id_is_the_text_of_it(tmp_path):
    content = {"data": [{"paragraphs": [{"context": "One.", "qas": [{"id": 7, "question": "a?"}]}]}]}
    (tmp_path / "en.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "tr.json").write_text(json.dumps(content).replace("7", '"7"'), encoding="utf-8")
    collection = read_squad({lang: tmp_path / f"{lang}.json" for lang in ("en", "tr")})
    assert collection.queries == {"en": ("a?",), "tr": ("a?",)}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1]", "does not have the layout of SQuAD: Input should be an object"),
        ("{", "does not have the layout of SQuAD: Invalid JSON"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', r"data\.0\.paragraphs\.0\.context: Field required"),
        ('{"data": [{"paragraphs": [{"context": " ", "qas": []}]}]}', r"context: Value error, the text is empty"),
        (
            '{"data": [{"paragraphs": [{"context": "One.", "qas": [{"id": 1.5, "question": "a?"}]}]}]}',
            r"data\.0\.paragraphs\.0\.qas\.0\.id: Input should be a valid string",
        ),
        (
            '{"data": [{"paragraphs": [{"context": "One.", "qas": [{"id": "1", "question": "a?"}, '
            '{"id": "1", "question": "b?"}]}]}]}',
            "the question `id` '1' appears twice",
        ),
        ('{"data": []}', "there is no question whose `id` all files have"),
    ],
)
def test_a_file_that_is_not_squads_is_refused_by_its_place(tmp_path, content, says):
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(SourceError, match=rf"a\.json: .*{says}"):
        read_squad({"en": tmp_path / "a.json"})


@pytest.mark.parametrize(
    "settings",
    [{}, {"corpus": "c", "queries": "q"}, {"squad": {"tr": "a"}, "corpus": "c", "queries": "q", "qrels": "r"}],
)
def test_a_task_has_the_files_of_one_layout(settings):
    with pytest.raises(ValueError, match="give either `squad`, or `corpus`, `queries` and `qrels`"):
        parse_task({"kind": "retrieval", **settings})


# Languages.


def test_every_pair_of_languages_has_the_figure_of_sentence_transformers(teacher, files):
    task = RetrievalTask(kind="retrieval", squad=files)
    result = task.evaluate(evaluator_of(teacher), Inputs())
    queries = {
        lang: [part for text in texts for part in (text[:20], text[10:30])] for lang, texts in PARAGRAPHS.items()
    }
    expected = {
        pair: ndcg_by_library(teacher, [text.strip() for text in queries[pair[0]]], PARAGRAPHS[pair[1]])
        for pair in product(PARAGRAPHS, PARAGRAPHS)
    }
    found = ndcg(result)
    cells = {language_pair(group): value for group, value in found.items() if language_pair(group)}
    assert cells == pytest.approx(expected, abs=1e-3)
    assert len(set(expected.values())) == 4
    assert found["all pairs"] == pytest.approx(np.mean(list(expected.values())), abs=1e-3)
    assert found["within a language"] == pytest.approx((expected["en", "en"] + expected["tr", "tr"]) / 2, abs=1e-3)
    assert found["across languages"] == pytest.approx((expected["en", "tr"] + expected["tr", "en"]) / 2, abs=1e-3)
    assert result.scores[0].group == "all pairs", "the main figure"
    assert np.mean(result.items[pair_group("tr", "en")]) == pytest.approx(expected["tr", "en"], abs=1e-3)


def test_the_report_has_a_row_a_query_language_and_a_column_a_document_language(teacher, student, files, tmp_path):
    task = RetrievalTask(kind="retrieval", squad=files)
    for place, model in (("teacher", teacher), ("student", student)):
        run_task("search", task, evaluator_of(model), Inputs(), tmp_path / place / "search.json")
    comparisons = read_comparisons(tmp_path, {"teacher": "teacher", "cut": "student"}, ["search"], resamples=20, seed=1)
    (matrix,) = language_matrices(comparisons)
    text = (
        environment()
        .get_template("language_matrix.html.jinja")
        .render(matrix=matrix, variant=SimpleNamespace(name="tailored"))
    )
    (table,) = Page(text).tables
    assert table.head == ["queries", "en", "tr"]
    assert [row[0] for row in table.rows] == ["en", "tr"]
    expected = next(row for row in comparisons if row.group == pair_group("tr", "en"))
    before, after, change = (expected.scores["teacher"], expected.scores["cut"], expected.to_teacher["cut"])
    said = f"{change.value:+.3g} ({change.low:+.3g} to {change.high:+.3g})"
    assert table.rows[1][1] == f"{after.value:.2f} / {before.value:.2f} / {said}"
    assert not any(language_pair(row.group) for rows in score_tables(comparisons) for row in rows), (
        "the table of scores leaves them out"
    )


def test_one_language_has_no_pairs(teacher, files):
    result = RetrievalTask(kind="retrieval", squad={"tr": files["tr"]}).evaluate(evaluator_of(teacher), Inputs())
    assert list(ndcg(result)) == ["all queries"]


# Asymmetric use.


@pytest.fixture
def scored(teacher, student, files, tmp_path):
    """Results of teacher and student by step, in a folder as the workflow has it."""
    task = RetrievalTask(kind="retrieval", squad={"tr": files["tr"]}, asymmetric=True)
    root = tmp_path / "evaluation"
    results = {"teacher": run_task("search", task, evaluator_of(teacher), Inputs(), root / "teacher" / "search.json")}
    inputs = Inputs(teacher=teacher_vectors({"search": task}, [], str(root / "teacher")))
    results["cut"] = run_task("search", task, evaluator_of(student), inputs, root / "student" / "search.json")
    return task, root, results


def test_a_students_queries_find_the_teachers_documents_and_the_reverse(scored, teacher, student):
    queries = [part.strip() for text in PARAGRAPHS["tr"] for part in (text[:20], text[10:30])]
    vectors = {}
    for name, folder in (("teacher", teacher), ("student", student)):
        model = SentenceTransformer(str(folder), device="cpu")
        vectors[name] = [model.encode(texts, normalize_embeddings=True) for texts in (queries, PARAGRAPHS["tr"])]
    found = ndcg(scored[2]["cut"])
    expected = {
        "all queries": ndcg_by_hand(*vectors["student"]),
        "queries by the model, documents by the teacher": ndcg_by_hand(vectors["student"][0], vectors["teacher"][1]),
        "queries by the teacher, documents by the model": ndcg_by_hand(vectors["teacher"][0], vectors["student"][1]),
    }
    assert found == pytest.approx(expected, abs=1e-3)
    assert len(set(expected.values())) == 3
    gains = {score.group: score for score in scored[2]["cut"].scores if score.metric == "ndcg@10 gained"}
    gained = expected["queries by the model, documents by the teacher"] - expected["all queries"]
    score = gains["by the teacher's documents"]
    assert score.value == pytest.approx(gained, abs=1e-3)
    assert score.low <= score.value <= score.high


def test_the_teacher_itself_is_the_same_on_both_sides(scored):
    scores = scored[2]["teacher"].scores
    assert len({score.value for score in scores if score.metric == "ndcg@10"}) == 1
    assert [score.value for score in scores if score.metric == "ndcg@10 gained"] == [0, 0]


def test_asymmetric_figures_are_compared_with_the_teachers_query_by_query(scored):
    _, root, results = scored
    rows = read_comparisons(root, {"teacher": "teacher", "cut": "student"}, ["search"], resamples=20, seed=1)
    compared = {row.group: row.to_teacher["cut"] for row in rows if row.metric == "ndcg@10"}
    for group, value in ndcg(results["cut"]).items():
        expected = value - ndcg(results["teacher"])["all queries"]
        assert compared[group].value == pytest.approx(expected, abs=1e-3)
        assert compared[group].low <= compared[group].value <= compared[group].high
    gained = [row.to_teacher for row in rows if row.metric == "ndcg@10 gained"]
    assert gained == [{}, {}]


def test_vectors_of_other_texts_are_refused(scored, student, files, tmp_path):
    _, root, _ = scored
    task = RetrievalTask(kind="retrieval", squad={"en": files["en"]}, asymmetric=True)
    inputs = Inputs(teacher={"search": root / "teacher" / "search.parquet"})
    with pytest.raises(ArtifactError, match=r"search\.parquet: contains vectors of other texts than those now"):
        run_task("search", task, evaluator_of(student), inputs, tmp_path / "search.json")


def test_a_task_that_is_not_asymmetric_leaves_no_vectors(teacher, files, tmp_path):
    task = RetrievalTask(kind="retrieval", squad=files)
    run_task("search", task, evaluator_of(teacher), Inputs(), tmp_path / "out" / "search.json")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["search.json"]
    assert teacher_vectors({"search": task}, [], None) == {}


def test_an_export_is_measured_against_the_same_vectors(scored, student, tmp_path):
    task, root, results = scored
    settings = TeacherSettings(model="tiny")
    model = load_teacher(student, settings, "cpu")
    register_formats()
    made, file = find_format("onnx"), tmp_path / "model.onnx"
    write_graph(model, "", file)
    evaluator = ExportEvaluator(student, model, file, made, lambda: OnnxClient(file, student, 1), settings, 20, 1)
    inputs = Inputs(teacher=teacher_vectors({"search": task}, [], str(root / "teacher")))
    found = run_task("search", task, evaluator, inputs, tmp_path / "export" / "search.json")
    assert ndcg(found) == pytest.approx(ndcg(results["cut"]), abs=1e-3)


# The user's own index.


@pytest.fixture
def indexed(tmp_path, teacher):
    """Settings of a task on files as BEIR has them, and the teacher's vectors of its documents by id."""
    documents = {f"d{row}": text for row, text in enumerate(PARAGRAPHS["tr"])}
    queries = {f"q{row}": text[:20] for row, text in enumerate(PARAGRAPHS["tr"])}
    for name, texts in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items()]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    judged = [f"q{row}\td{row}\t1\n" for row in range(len(documents))]
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged), encoding="utf-8")
    vectors = SentenceTransformer(str(teacher), device="cpu").encode(list(documents.values()))
    files = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels.tsv"}
    settings = {name: str(tmp_path / file) for name, file in files.items()}
    return {"kind": "retrieval", "asymmetric": True, **settings}, dict(zip(documents, vectors, strict=True))


def write_index(path, vectors):
    if path.suffix == ".npy":
        np.save(path, np.array(list(vectors.values())))
    else:
        pq.write_table(pa.table({"_id": list(vectors), "vector": [v.tolist() for v in vectors.values()]}), path)
    return str(path)


@pytest.mark.parametrize("name", ["index.parquet", "index.npy"])
@pytest.mark.parametrize("width", [None, 8])
def test_an_index_of_the_teachers_vectors_takes_the_place_of_encoding(teacher, indexed, tmp_path, caplog, name, width):
    settings, vectors = indexed
    settings = {**settings, "truncate_dim": width}
    if name == "index.parquet":
        vectors = {"another": np.ones(32, np.float32), **dict(reversed(vectors.items()))}
    task = parse_task({**settings, "teacher_index": write_index(tmp_path / name, vectors)})
    with caplog.at_level("INFO", "langtailor"):
        found = task.evaluate(evaluator_of(teacher), Inputs())
    assert not any("encoding all documents" in message for message in caplog.messages)
    assert not any(record.levelname == "WARNING" for record in caplog.records)
    expected = parse_task(settings).evaluate(evaluator_of(teacher), Inputs())
    assert found.scores == expected.scores
    for side in ("all queries", "all documents"):
        np.testing.assert_allclose(found.vectors.vectors[side], expected.vectors.vectors[side], atol=1e-5)
    assert str(tmp_path / name) in task.needs(()).files, "a change of the index is seen"


def test_an_index_of_another_model_is_warned_of(teacher, student, indexed, tmp_path, caplog):
    settings, vectors = indexed
    model = SentenceTransformer(str(student), device="cpu")
    others = dict(zip(vectors, model.encode(PARAGRAPHS["tr"]), strict=True))
    task = parse_task({**settings, "teacher_index": write_index(tmp_path / "index.npy", others)})
    task.evaluate(evaluator_of(teacher), Inputs())
    (record,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert re.search(r"index\.npy: its vectors have a mean cosine of 0\.\d+ to the teacher's", record.getMessage())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda vectors: dict(list(vectors.items())[1:]), "has no vector of 1 of 12 documents; the first is 'd0'"),
        (
            lambda vectors: {key: vector[:31] for key, vector in vectors.items()},
            r"shape \(12, 31\); 12 documents in 32",
        ),
        (lambda vectors: {**vectors, "d3": vectors["d3"] * np.nan}, "a vector has a number that is not finite"),
    ],
)
def test_an_index_that_lacks_something_is_refused(teacher, indexed, tmp_path, change, says):
    settings, vectors = indexed
    task = parse_task({**settings, "teacher_index": write_index(tmp_path / "index.parquet", change(vectors))})
    with pytest.raises(SourceError, match=rf"index\.parquet: .*{says}"):
        task.evaluate(evaluator_of(teacher), Inputs())


NAMES = [f"d{row}" for row in range(12)]


def write_archive(path):
    np.savez(path.with_suffix(".npz"), np.ones((12, 32), np.float32))
    path.with_suffix(".npz").rename(path)


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("index.parquet", lambda path: path.write_bytes(b"PAR"), "cannot be read as an index of vectors"),
        (
            "index.parquet",
            lambda path: pq.write_table(pa.table({"_id": ["d0"]}), path),
            "has no column `vector`; found _id",
        ),
        (
            "index.parquet",
            lambda path: pq.write_table(pa.table({"_id": ["d0", "d1", "d0"], "vector": [[1.0]] * 3}), path),
            "'d0' is there twice; keep one vector of each document",
        ),
        (
            "index.parquet",
            lambda path: pq.write_table(pa.table({"_id": NAMES, "vector": ["0.1 0.2"] * 12}), path),
            "the column `vector` has values of the type string; lists of numbers are expected",
        ),
        (
            "index.parquet",
            lambda path: pq.write_table(
                pa.table({"_id": NAMES, "vector": [*[[1.0] * 32] * 10, [1.0] * 31, [1.0] * 33]}), path
            ),
            "the vector of 'd10' has 31 numbers, that of 'd0' has 32; all must have as many",
        ),
        (
            "index.parquet",
            lambda path: pq.write_table(
                pa.table({"_id": NAMES, "vector": [[1.0] * 64, None, *[[1.0] * 32] * 10]}), path
            ),
            "the vector of 'd1' is null",
        ),
        (
            "index.parquet",
            lambda path: pq.write_table(pa.table({"_id": NAMES, "vector": [[1.0] * 31 + [None]] * 12}), path),
            "a vector has a number that is not finite",
        ),
        ("index.npy", lambda path: path.write_bytes(b""), "cannot be read as an index of vectors: EOF"),
        ("index.npy", write_archive, "cannot be read as an index of vectors: the magic string is not correct"),
        ("index.npy", lambda path: np.save(path, np.array(["a", "b"])), "holds <U1; vectors of floating-point numbers"),
    ],
)
def test_a_file_that_is_no_index_is_refused(indexed, tmp_path, teacher, name, write, says):
    write(tmp_path / name)
    task = parse_task({**indexed[0], "teacher_index": str(tmp_path / name)})
    with pytest.raises(SourceError, match=f"{name}: {says}"):
        task.evaluate(evaluator_of(teacher), Inputs())


def test_an_index_belongs_to_documents_with_ids():
    with pytest.raises(ValueError, match="needs `asymmetric: true`, and `corpus`, whose documents have ids"):
        parse_task({"kind": "retrieval", "squad": {"tr": "a.json"}, "asymmetric": True, "teacher_index": "i.npy"})


# Prompts.


def with_prompts(folder, prompts):
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}), encoding="utf-8")


QWEN = {"query": "Instruct: find\nQuery:", "document": ""}


@pytest.mark.parametrize(
    "prompts", [GEMMA_PROMPTS, QWEN, {"query": "find: "}, {"query": "query: ", "document": "", "passage": "passage: "}]
)
def test_queries_and_documents_stand_behind_the_models_own_prompts(tmp_path, files, prompts, caplog):
    model = make_tiny_gemma_teacher(tmp_path / "model")
    with_prompts(model, prompts)
    library = SentenceTransformer(str(model), device="cpu")
    queries = [part.strip() for text in PARAGRAPHS["tr"] for part in (text[:20], text[10:30])]
    name = "passage" if "passage" in prompts else None
    vectors = library.encode_query(queries), library.encode_document(PARAGRAPHS["tr"], prompt_name=name)
    task = RetrievalTask(kind="retrieval", squad={"tr": files["tr"]})
    with caplog.at_level("INFO", "langtailor"):
        found = ndcg(task.evaluate(evaluator_of(model), Inputs()))["all queries"]
    assert found == pytest.approx(ndcg_by_hand(*vectors), abs=1e-3)
    assert f"encoding tr queries with prompt {prompts['query']!r}" in caplog.messages
    plain = ndcg_by_hand(library.encode(queries, prompt=""), library.encode(PARAGRAPHS["tr"], prompt=""))
    assert found != pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("prompts", [{}, {"query": "", "document": ""}], ids=str)
def test_a_model_without_prompts_of_its_own_takes_the_teachers_prompt(teacher, tmp_path, prompts):
    model = tmp_path / "model"
    shutil.copytree(teacher, model)
    with_prompts(model, prompts)
    evaluator = evaluator_of(model, prompt="query: ")
    assert [evaluator.role_prompt(role) for role in ("query", "document")] == [None, None]


# The document.


def test_the_documents_router_reads_queries_by_the_student_and_documents_by_the_teacher(
    teacher, student, tmp_path, monkeypatch
):
    text = (Path(__file__).parents[2] / "docs" / "retrieval.md").read_text(encoding="utf-8")
    code = text.split("## One model with two sides")[1].split("```python\n")[1].split("```")[0]
    for place, folder in (("student/tailored", student), ("teacher/model", teacher)):
        shutil.copytree(folder, tmp_path / "results" / "demo" / place)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    both = SentenceTransformer("both-sides", device="cpu")
    asked, found = SentenceTransformer(str(student), device="cpu"), SentenceTransformer(str(teacher), device="cpu")
    queries, documents = PARAGRAPHS["tr"][:3], PARAGRAPHS["tr"][3:6]
    np.testing.assert_allclose(both.encode_query(queries), asked.encode(queries, prompt="query: "), atol=1e-5)
    np.testing.assert_allclose(both.encode(documents), found.encode(documents), atol=1e-5)
    np.testing.assert_allclose(both.encode_document(documents), found.encode(documents, prompt="passage: "), atol=1e-5)
