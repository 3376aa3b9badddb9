"""What reruns after a change of the finished small run: exactly what the change can affect.

Each row of the tables below stands, in the same words, in ``docs/reruns.md``. The small run has two languages, one
variant with new tokens, beside which the workflow puts one that is only cut, and three evaluation tasks: an evaluation of
the teacher, and three of the clone that is only cut, of the one with new tokens and of the student.
"""

import ast
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import REMOVED, ROOT, changed

pytestmark = pytest.mark.timeout(900)

#: Of the Hub, so that planning looks for no file.
STS_PAIRS = {"dataset": "owner/pairs"}
Jobs = dict[str, int]

NOTHING: Jobs = {}
REPORT: Jobs = {"write_report": 1}
CARD_AND_REPORT = REPORT | {"assemble_student": 1}
SCORES = CARD_AND_REPORT | {"evaluate": 3, "evaluate_teacher": 1}
STUDENT = CARD_AND_REPORT | {"distil": 1, "evaluate": 1}
REDUCTION = STUDENT | {"reduce_clone": 1, "evaluate": 2}
CLONE = STUDENT | {"clone_model": 1, "tokenize_corpora": 1, "evaluate": 2}
GRAFTS = CLONE | {"write_tokenizer": 1, "select_vocabulary": 1}
CLONES = CLONE | {"clone_model": 2, "evaluate": 3}
TOKENIZER = CLONES | {"write_tokenizer": 2}
VOCABULARY = TOKENIZER | {"select_vocabulary": 2}
#: Stored vectors are what students train on and what the task `agreement`, for all models, compares with.
VECTORS = STUDENT | SCORES | {"teacher_vectors": 1}
COUNTS = VOCABULARY | {"count_tokens": 1}
CORPUS = COUNTS | {"build_corpus": 2, "teacher_vectors": 1, "evaluate_teacher": 1}
DOCUMENTS = CORPUS | {"fetch_documents": 2}
TEACHER = CORPUS | {"fetch_teacher": 1}
ONE_LANGUAGE = VOCABULARY | {"build_corpus": 1, "count_tokens": 1, "teacher_vectors": 1, "fetch_documents": 1}


@dataclass(frozen=True)
class Row:
    """A change and what it makes run, in words and in jobs."""

    name: str
    words: str
    jobs: Jobs
    values: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


def every_definition(source: str) -> str:
    """Python source with a statement more in every function and class at its top level, and no other behaviour."""
    tree = ast.parse(source)
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            statement.body.append(ast.Pass())
    return ast.unparse(tree) + "\n"


def added(text: str) -> Callable[[str], str]:
    """An edit that puts a text at the end of a file."""
    return lambda source: source + text


@dataclass(frozen=True)
class Edit:
    """An edit of files below ``workflow/``, named by patterns, and what it makes run."""

    name: str
    words: str
    jobs: Jobs
    files: tuple[str, ...]
    edited: Callable[[str], str] = every_definition


SETTINGS = [
    Row("report title", "report", REPORT, {"report.title": "Another title"}),
    Row("export formats", "exports, report", REPORT | {"export_student": 2}, {"export.formats": ["onnx", "gguf-q8_0"]}),
    Row("bootstrap count", "all evaluations, card, report", SCORES, {"evaluation.bootstrap": 60}),
    Row(
        "evaluation task added",
        "this task for each model, card, report",
        SCORES,
        {"evaluation.tasks.margin": {"kind": "bitext", "source": "tr", "margin": True}},
    ),
    Row(
        "evaluation task changed",
        "this task for each model, card, report",
        SCORES,
        {"evaluation.tasks.bitext.margin": True},
    ),
    Row(
        "evaluation task removed",
        "evaluations, in which nothing is computed; card, report",
        SCORES,
        {"evaluation.tasks.bitext": REMOVED},
    ),
    Row("objective", "training and what follows", STUDENT, {"distillation.objective": {"relational": 1.0}}),
    Row("learning rate", "training and what follows", STUDENT, {"distillation.learning_rate": 2e-3}),
    Row("STS dev set", "training and what follows", STUDENT, {"distillation.validation_sts": STS_PAIRS}),
    Row("batch size", "training and what follows", STUDENT, {"distillation.batch_size": 32}),
    Row("epochs", "training and what follows", STUDENT, {"distillation.epochs": 3}),
    Row("training weight of a language", "training and what follows", STUDENT, {"distillation.language_weights.tr": 2}),
    Row(
        "length of training texts",
        "tokens, then training and what follows",
        STUDENT | {"tokenize_corpora": 1},
        {"distillation.max_length": 64},
    ),
    Row("initialisation", "clone and what follows", CLONE, {"initialisation.method": "norm-matched"}),
    Row("layers", "reduction, training and what follows", REDUCTION, {"student.layers": 1}),
    Row(
        "dimensions",
        "reduction, projected vectors, training and what follows",
        REDUCTION | {"project_vectors": 1},
        {"student.dimensions": 8},
    ),
    Row("vocabulary size", "vocabulary and what follows", VOCABULARY, {"vocabulary.size": 400}),
    Row("graft share", "vocabulary and what follows", GRAFTS, {"vocabulary.graft.share": 0.05}),
    Row("language weight", "vocabulary and what follows", VOCABULARY, {"corpus.languages.tr.weight": 2.0}),
    Row(
        "second variant",
        "vocabulary and what follows, of this variant alone; report",
        VOCABULARY,
        {"variants": {"tailored": {}, "smaller": {"vocabulary": {"size": 380}}}},
    ),
    Row(
        "second variant, another training of the same clone",
        "tokens, training and what follows, of this variant alone; report",
        STUDENT | {"tokenize_corpora": 1},
        {"variants": {"tailored": {}, "trained-again": {"distillation": {"epochs": 1}}}},
    ),
    Row(
        "shard size",
        "all vectors, training and what follows, agreement with the teacher",
        VECTORS,
        {"vectors.shard_passages": 50},
    ),
    Row(
        "shard size of one language",
        "vectors of this language, training and what follows, agreement with the teacher",
        VECTORS,
        {"corpus.languages.en.shard_passages": 50},
    ),
    Row(
        "passages in a job",
        "all vectors, in which nothing is computed; training and what follows",
        VECTORS | {"teacher_vectors": 2},
        {"vectors.passages_per_job": 112},
    ),
    Row(
        "teacher batch",
        "all vectors, training and what follows, agreement with the teacher",
        VECTORS,
        {"vectors.batch_tokens": 2_048},
    ),
    Row(
        "vectors from the Hub",
        "all vectors, in which only what is not published is computed; training and what follows, agreement with the teacher",
        VECTORS | {"fetch_vectors": 2},
        {"vectors.source": {"dataset": "owner/vectors"}},
    ),
    Row(
        "what the teacher reads",
        "all vectors, training and what follows, agreement with the teacher",
        VECTORS,
        {"teacher.reads": "text"},
    ),
    Row(
        "teacher prompt, by name",
        "all vectors, tokens, training and what follows, all evaluations; not the clone",
        SCORES | {"teacher_vectors": 1, "tokenize_corpora": 1, "distil": 1},
        {"teacher.prompt": "query"},
    ),
    Row(
        "teacher prompt, written out",
        "all vectors, vocabulary and what follows, all evaluations",
        VOCABULARY | SCORES | {"teacher_vectors": 1},
        {"teacher.prompt": "query: "},
    ),
    Row(
        "prompt of one language",
        "as for the teacher's prompt; vectors of other languages are taken from the cache",
        VOCABULARY | VECTORS | SCORES,
        {"teacher.language_prompts": {"tr": "query: "}},
    ),
    Row("teacher revision", "everything but the documents", TEACHER, {"teacher.revision": "another"}),
    Row(
        "quota raised",
        "this language's documents, corpus and vectors; counts; vocabulary and what follows; evaluations that read it",
        ONE_LANGUAGE | {"evaluate_teacher": 1},
        {"corpus.languages.en.quotas": {"train": 90, "validation": 16, "test": 16}},
    ),
    Row(
        "language added",
        "its documents, corpus and vectors; counts; vocabulary and what follows; evaluations of all languages",
        ONE_LANGUAGE | {"evaluate_teacher": 1},
        {"corpus.languages.de": {}},
    ),
    Row(
        "language removed",
        "counts; vectors of its job, in which nothing is computed; vocabulary and what follows; evaluations of all languages",
        VOCABULARY | {"count_tokens": 1, "teacher_vectors": 1, "evaluate_teacher": 1},
        {"corpus.languages.en": REMOVED},
    ),
    Row("cleaning", "corpus and what follows; not the documents", CORPUS, {"corpus.cleaning.min_characters": 12}),
    Row("short passages", "corpus and what follows; not the documents", CORPUS, {"corpus.short": {"share": 0.5}}),
    Row("passage length", "corpus and what follows; not the documents", CORPUS, {"corpus.chunk_tokens": 256}),
    Row("seed", "everything but the teacher", DOCUMENTS, {"seed": 7}),
    Row(
        "where a training is seen, and when it is saved",
        "nothing",
        NOTHING,
        {"distillation.report_to": ["wandb"], "distillation.tensorboard": True, "distillation.checkpoint_minutes": 1.0},
    ),
    Row(
        "image of the jobs, without `--sdm apptainer`",
        "nothing",
        NOTHING,
        {"container": "docker://registry.example.org/langtailor:1"},
    ),
    Row(
        "what is published, and where",
        "nothing",
        NOTHING,
        {"publish": {"repo": "owner/model", "vectors": "owner/vectors"}},
    ),
    Row(
        "threads, cores, memory, GPU or profile",
        "nothing",
        NOTHING,
        arguments=(
            *("--cores", "8", "--set-threads", "distil=1", "teacher_vectors=4", "--set-resources", "distil:mem_mb=99"),
            *("--resources", "gpu=4", "--workflow-profile", "none"),
        ),
    ),
]

CODE = [
    Edit(
        "code of the sources",
        "everything but the teacher",
        DOCUMENTS,
        ("langtailor/corpus/documents.py", "langtailor/corpus/dataset_*.py", "langtailor/corpus/local_files.py"),
    ),
    Edit(
        "code of the corpus",
        "corpus and what follows; not the documents",
        CORPUS,
        tuple(
            f"langtailor/corpus/{name}.py" for name in ("build", "chunking", "cleaning", "deduplication", "splitting")
        ),
    ),
    Edit("code of counting", "counts; vocabulary and what follows", COUNTS, ("langtailor/counts/*.py",)),
    Edit("code of the selection", "vocabulary and what follows", VOCABULARY, ("langtailor/vocabulary/*.py",)),
    Edit("code of the surgery", "vocabulary and what follows", VOCABULARY, ("langtailor/surgery/wordpiece.py",)),
    Edit("code of the certificate", "tokenizer and what follows", TOKENIZER, ("langtailor/tokenizer/*.py",)),
    Edit("code of the clone", "clone and what follows", CLONES, ("langtailor/clone/*.py",)),
    Edit(
        "code of the tokens",
        "tokens, then training and what follows",
        STUDENT | {"tokenize_corpora": 1},
        ("langtailor/distillation/tokens.py",),
    ),
    Edit(
        "code of the encoder",
        "all vectors, training and what follows, all evaluations",
        SCORES | {"teacher_vectors": 1, "distil": 1},
        ("langtailor/models/encoder.py",),
    ),
    Edit(
        "code of the vectors",
        "all vectors, training and what follows, agreement with the teacher",
        VECTORS,
        ("langtailor/vectors/encode.py",),
    ),
    Edit(
        "code of the training",
        "training and what follows",
        STUDENT,
        tuple(f"langtailor/distillation/{name}.py" for name in ("gradients", "objectives", "schedule", "train")),
    ),
    Edit(
        "code of a term of the loss",
        "trainings that give it a weight, and what follows",
        STUDENT,
        ("langtailor/objectives/cosine.py", "langtailor/objectives/mse.py"),
    ),
    Edit(
        "code of an evaluation",
        "evaluations by this kind of task, card, report",
        SCORES,
        ("langtailor/evaluation/tasks/bitext.py",),
    ),
    Edit(
        "code that all evaluations share",
        "all evaluations, card, report",
        SCORES,
        ("langtailor/evaluation/run.py", "langtailor/evaluation/task.py"),
    ),
    Edit("code of the comparison", "card, report", CARD_AND_REPORT, ("langtailor/evaluation/comparison.py",)),
    Edit(
        "code that card and report share",
        "card, report",
        CARD_AND_REPORT,
        ("langtailor/student/prompt.py", "langtailor/student/retention.py"),
    ),
    Edit(
        "code of the card",
        "card",
        {"assemble_student": 1},
        tuple(f"langtailor/student/{name}.py" for name in ("card", "limits", "markdown", "model_index")),
    ),
    Edit("template of the card", "card", {"assemble_student": 1}, ("langtailor/student/*.jinja",), added("\nMore.\n")),
    Edit("code of the report", "report", REPORT, ("langtailor/report/*.py",)),
    Edit("template of the report", "report", REPORT, ("langtailor/report/*.jinja",), added("\nMore.\n")),
    Edit(
        "code of publishing and of taking vectors over",
        "nothing, where neither is done",
        NOTHING,
        ("langtailor/publish/*.py", "langtailor/vectors/published.py", "scripts/publish*.py"),
    ),
    Edit("code of the teacher", "everything but the documents", TEACHER, ("langtailor/teacher/*.py",)),
    Edit("code that all stages share", "everything", TEACHER | DOCUMENTS, ("langtailor/storage/artifacts.py",)),
    Edit(
        "sample corpus",
        "the documents of the languages concerned, and what follows",
        ONE_LANGUAGE | {"evaluate_teacher": 1},
        ("langtailor/corpus/sample/tr.txt",),
        added("Bu satır yeni.\n"),
    ),
    Edit(
        "script of a rule",
        "its rule and what follows",
        STUDENT,
        ("scripts/distillation.py",),
        lambda source: source.replace("seed=params.seed", "seed=params.seed + 0"),
    ),
    Edit(
        "comments, docstrings, layout and import statements",
        "nothing",
        NOTHING,
        ("langtailor/storage/artifacts.py", "langtailor/distillation/*.py", "scripts/*.py"),
        lambda source: ast.unparse(ast.parse(source)) + '\n# Said better.\n"""And longer."""\nimport sys\n',
    ),
    Edit(
        "code that no script uses",
        "nothing",
        NOTHING,
        ("langtailor/storage/*.py", "langtailor/distillation/*.py"),
        added("\nCONSTANT = 1\n\n\ndef unused():\n    return CONSTANT\n"),
    ),
    Edit(
        "code that shapes no file: settings, errors, progress, logging, planning",
        "nothing",
        NOTHING,
        (*(f"langtailor/{name}.py" for name in ("errors", "progress", "config/*", "planning/*")), "scripts/job.py"),
    ),
]

#: Rows of the document that the tests at the end of this file hold, and those of test_retrieval_stage.py.
FURTHER = {
    "new checkout of the same code": "nothing",
    "code moved to another module": "nothing",
    "asymmetric retrieval added": "this task for the teacher, then for each model; card, report",
    "own file touched, not changed": "nothing",
    "own file of text changed, added or removed": "the documents of its language, and what follows",
    "own file of an evaluation task changed": "this task for each model, card, report; where a variant is trained for "
    "retrieval, queries and what follows",
    "evaluation task with texts of its own added, where a variant is trained for retrieval": "queries and what follows, "
    "which leave these texts out; this task for each model",
    "evaluation task with texts of its own removed, where a variant is trained for retrieval": "queries and what follows, "
    "from which these texts are no longer left out; evaluations, in which nothing is computed",
    "evaluation task with texts of its own scored in another way or renamed, where a variant is trained for retrieval": "this "
    "task for each model, card, report; not the queries",
    "own file of queries and documents changed": "queries, their vectors, candidates and tokens; training for retrieval "
    "and what follows",
    "training for retrieval added": "queries, their vectors, candidates and tokens; this training and what follows; not the "
    "distillation",
    "training for retrieval changed": "this training and what follows; not the distillation",
    "candidates of retrieval": "candidates, this training and what follows",
    "made queries": "queries, their vectors, candidates and tokens; this training and what follows",
    "student made of another encoder": "this encoder, counts; vocabulary and what follows; not the corpus, the teacher's "
    "vectors and scores",
    "own teacher folder changed": "everything but the documents",
    "intermediate file deleted": "nothing, until a job that reads it runs; then its rule, and what follows from it",
}


@pytest.fixture(scope="module")
def code(tmp_path_factory) -> Path:
    """A copy of the code, with the times of its files, so that no test edits the repository."""
    copied = tmp_path_factory.mktemp("code")
    for folder in ("config", "envs", "profiles", "workflow"):
        shutil.copytree(ROOT / folder, copied / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Snakefile", copied)
    return copied


@contextmanager
def restored(*paths: Path) -> Iterator[None]:
    """Put files back as they were, their times included."""
    before = {path: (path.read_bytes(), path.stat()) for path in paths}
    try:
        yield
    finally:
        for path, (content, status) in before.items():
            path.write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_a_changed_setting_reruns_what_it_can_affect(finished, row):
    assert finished.planned(changed(finished.config, row.values), *row.arguments) == row.jobs


def test_where_one_variant_is_seen_reruns_nothing_either(finished):
    seen = {"variants": {"tailored": {"distillation": {"report_to": ["mlflow"], "checkpoint_minutes": 2.0}}}}
    assert finished.planned(changed(finished.config, seen)) == NOTHING


def test_the_job_reads_where_it_is_seen_although_that_reruns_nothing(finished, tmp_path):
    again = finished.copy(tmp_path / "again")
    config = changed(finished.config, {"distillation.report_to": ["clearml"]})
    done = again.snakemake("--force", "results/small/distillation/tailored/model", config=config)
    assert done.returncode != 0
    assert (
        "error: config `distillation.report_to`: found 'clearml', but accelerate finds no such package" in done.stderr
    )


@pytest.mark.parametrize("edit", CODE, ids=lambda edit: edit.name)
def test_edited_code_reruns_the_stages_that_stand_on_it(finished, code, edit):
    paths = [path for pattern in edit.files for path in sorted((code / "workflow").glob(pattern))]
    with restored(*paths):
        changes = [edit_file(path, edit.edited) for path in paths]
        assert any(changes), "the edit changes something"
        assert finished.planned(None, "--snakefile", str(code / "Snakefile")) == edit.jobs


def edit_file(path: Path, edited: Callable[[str], str]) -> bool:
    """Edit a file; returns whether that changed it."""
    before = path.read_text(encoding="utf-8")
    path.write_text(edited(before), encoding="utf-8")
    return path.read_text(encoding="utf-8") != before


def test_a_new_checkout_of_the_same_code_reruns_nothing(finished, code):
    paths = [path for path in code.rglob("*") if path.is_file()]
    with restored(*paths):
        for path in paths:
            os.utime(path)
        assert finished.planned(None, "--snakefile", str(code / "Snakefile")) == NOTHING


def test_without_the_profile_a_newer_script_reruns_its_rule_once(finished, code):
    script, counts = code / "workflow" / "scripts" / "counts.py", finished.results / "counts" / "en.parquet"
    arguments = (
        "results/small/counts/en.parquet",
        "--snakefile",
        str(code / "Snakefile"),
        "--workflow-profile",
        "none",
    )
    with restored(script, counts):
        os.utime(script)
        assert finished.planned(None, *arguments) == {"count_tokens": 1}
        assert finished.snakemake(*arguments).returncode == 0
        assert finished.planned(None, *arguments) == NOTHING


def test_moved_code_reruns_nothing(finished, code):
    package = code / "workflow" / "langtailor"
    source, moved = package / "clone" / "rows.py", package / "models" / "moved.py"
    with restored(source, *package.rglob("*.py")):
        source.rename(moved)
        for path in package.rglob("*.py"):
            edit_file(path, lambda text: text.replace("langtailor.clone.rows", "langtailor.models.moved"))
        assert finished.planned(None, "--snakefile", str(code / "Snakefile")) == NOTHING
    moved.unlink()


def test_a_touched_input_reruns_nothing_and_a_changed_teacher_all_that_reads_it(finished):
    teacher = Path(finished.config["teacher"]["model"])
    with restored(teacher / "config.json"), restored(finished.results / "counts" / "tr.parquet"):
        os.utime(teacher / "config.json")
        os.utime(finished.results / "counts" / "tr.parquet")
        assert finished.planned() == NOTHING
        with (teacher / "config.json").open("a", encoding="utf-8") as stream:
            stream.write("\n")
        assert finished.planned() == TEACHER


def test_a_deleted_intermediate_is_made_again_when_a_job_reads_it(finished):
    documents = finished.results / "corpus" / "documents" / "tr.parquet"
    with restored(documents):
        documents.unlink()
        assert finished.planned() == NOTHING
        assert finished.planned(changed(finished.config, {"initialisation.method": "random"})) == CLONE
        recleaned = finished.planned(changed(finished.config, {"corpus.cleaning.min_characters": 12}))
        assert recleaned == CORPUS | {"fetch_documents": 1}


def test_own_files_are_watched(finished):
    folder = finished.folder / "mine"
    folder.mkdir()
    first, second = folder / "first.txt", folder / "second.txt"
    for path in (first, second):
        path.write_text(f"A sentence of {path.stem}.\nAnother one, which is longer.\n", encoding="utf-8")
    mine = {
        "run": "mine",
        "corpus.sources.mine": {"kind": "files", "path": "mine"},
        "corpus.languages.tr.source": "mine",
    }
    config = changed(finished.config, {**mine, "corpus.languages.en.source": "sample"})
    documents = "results/mine/corpus/documents/tr.parquet"
    done = finished.snakemake(documents, config=config)
    assert done.returncode == 0, done.stderr
    os.utime(first)
    assert finished.planned(config, documents) == NOTHING
    with restored(first):
        first.write_text("A sentence of the first file, changed.\n", encoding="utf-8")
        assert finished.planned(config, documents) == {"fetch_documents": 1}
    assert finished.planned(config, documents) == NOTHING
    second.unlink()
    assert finished.planned(config, documents) == {"fetch_documents": 1}


def test_a_student_is_measured_against_the_teachers_vectors_of_an_asymmetric_task(finished, tmp_path):
    again = finished.copy(tmp_path / "again")
    questions, student = tmp_path / "questions.json", "results/small/evaluation/tailored.cut/clone"
    write_questions(questions, "Nerede?")
    search = {"kind": "retrieval", "squad": {"tr": str(questions)}}
    symmetric = changed(finished.config, {"evaluation.tasks.search": search})
    assert again.planned(symmetric, student) == {"evaluate": 1}
    config = changed(symmetric, {"evaluation.tasks.search.asymmetric": True})
    assert again.planned(config) == SCORES
    done = again.snakemake(student, config=config)
    assert done.returncode == 0, done.stderr
    scores = again.json("evaluation/tailored.cut/clone/search.json")["scores"]
    assert "queries by the model, documents by the teacher" in [score["group"] for score in scores]
    log = (again.results / "logs" / "evaluate" / "teacher.log").read_text(encoding="utf-8")
    assert "4 tasks, 3 of them from the score cache" in log
    assert again.planned(config, student) == NOTHING
    write_questions(questions, "Ne zaman?")
    assert again.planned(config, student) == {"evaluate_teacher": 1, "evaluate": 1}


def write_questions(path: Path, asked: str) -> None:
    """A file laid out as SQuAD's with a question about one of two paragraphs."""
    paragraphs = [
        {"context": "Vapur iskeleye yanaştı.", "qas": [{"id": "1", "question": asked}]},
        {"context": "Bugün hava çok güzel.", "qas": []},
    ]
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")


def test_the_document_says_the_same():
    text = (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| (?!Change |--)([^|]+) \| ([^|]+) \|$", text, re.MULTILINE))
    assert said == {row.name: row.words for row in (*SETTINGS, *CODE)} | FURTHER
