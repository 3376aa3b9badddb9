"""Scores are computed once for the same task, model and texts, whatever else is evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from langtailor.config.evaluation import parse_task
from langtailor.config.teacher import TeacherSettings
from langtailor.errors import LangtailorError
from langtailor.evaluation import run as run_module
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.run import evaluate_model
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks import register_tasks
from langtailor.storage.artifacts import Manifest, seal_directory
from tests.models import make_tiny_bert_teacher
from tests.unit.test_evaluation_by_hand import TEXTS, write_corpus

FERTILITY = {"kind": "fertility"}
STS = {"kind": "sts", "path": "pairs.csv"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    register_tasks()
    seal_directory(make_tiny_bert_teacher(tmp_path / "model"), Manifest("clone"))
    for lang, texts in TEXTS.items():
        write_corpus(tmp_path / f"{lang}.parquet", lang, texts)
    write_pairs(3)
    return tmp_path


def write_pairs(score: int) -> None:
    rows = ["One.,Bir.,5", f"Two.,Iki.,{score}", "Three.,Four.,1"]
    Path("pairs.csv").write_text("\n".join(["sentence1,sentence2,score", *rows, ""]), encoding="utf-8")


def evaluate(
    folder: Path, tasks: dict[str, Any], resamples: int = 10, teacher: dict[str, Path] | None = None, to: str = ""
) -> list[str]:
    """Names of the tasks that are computed."""
    evaluator = Evaluator(folder / "model", TeacherSettings(model="tiny"), resamples, seed=1, device="cpu")
    inputs = Inputs({lang: folder / f"{lang}.parquet" for lang in TEXTS}, teacher=teacher)
    computed, real = [], run_module.run_task

    def counted(name: str, *arguments: Any) -> Any:
        computed.append(name)
        return real(name, *arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_module, "run_task", counted)
        parsed = {name: parse_task(task) for name, task in tasks.items()}
        evaluate_model(parsed, evaluator, inputs, folder / f"scores{to}", folder / f"cache{to}")
    return computed


def scores(folder: Path) -> dict[str, Any]:
    files = (folder / "scores").glob("*.json")
    return {path.stem: json.loads(path.read_text()) for path in files if path.name != "manifest.json"}


def test_a_task_that_is_added_or_removed_leaves_the_others_as_they_are(folder):
    assert evaluate(folder, {"words": FERTILITY}) == ["words"]
    before = scores(folder)
    assert evaluate(folder, {"words": FERTILITY, "pairs": STS}) == ["pairs"]
    assert {**scores(folder), **before} == scores(folder)
    assert evaluate(folder, {"pairs": STS}) == []
    assert scores(folder).keys() == {"pairs"}


@pytest.mark.parametrize("change", ["task", "file", "corpus", "model", "bootstrap", "code", "damage"])
def test_what_a_score_depends_on_has_it_computed_anew(folder, monkeypatch, change):
    tasks: dict[str, Any] = {"words": FERTILITY, "pairs": STS}
    evaluate(folder, tasks)
    expected, resamples = ["words", "pairs"], 10
    match change:
        case "task":
            tasks, expected = {**tasks, "pairs": {**STS, "truncate_dim": 8}}, ["pairs"]
        case "file":
            write_pairs(4)
            expected = ["pairs"]
        case "corpus":
            write_corpus(folder / "tr.parquet", "tr", ["abcd", "dab"])
            expected = ["words"]
        case "model":
            seal_directory(folder / "model", Manifest("clone", {"another": True}))
        case "bootstrap":
            resamples = 20
        case "code":
            monkeypatch.setattr(run_module, "module_digest", lambda module: f"another {module}")
        case "damage":
            (file,) = (folder / "cache").glob("words.*.json")
            file.write_text(file.read_text().replace("per word", "per sword"))
            expected = ["words"]
    assert evaluate(folder, tasks, resamples) == expected
    assert len(list((folder / "cache").iterdir())) == 2, "of each task the last scores are kept"


def test_a_task_that_fails_keeps_no_other_from_being_computed(folder, caplog):
    missing = {"kind": "sts", "path": "nowhere.csv"}
    with pytest.raises(LangtailorError, match="1 of 2 tasks failed"):
        evaluate(folder, {"missing": missing, "words": FERTILITY})
    assert any(text.startswith("error: task missing: nowhere.csv") for text in caplog.messages)
    assert not (folder / "scores").exists()
    assert evaluate(folder, {"words": FERTILITY}) == []


def write_questions(asked: str) -> dict[str, Any]:
    qas = [{"id": str(n), "question": text} for n, text in enumerate((asked, "Two."))]
    content = {"data": [{"paragraphs": [{"context": "One.", "qas": qas}, {"context": "Three.", "qas": []}]}]}
    Path("questions.json").write_text(json.dumps(content), encoding="utf-8")
    return {"kind": "retrieval", "squad": {"tr": "questions.json"}, "asymmetric": True}


def test_the_teachers_vectors_of_a_tasks_texts_are_cached_with_its_scores(folder):
    tasks = {"search": write_questions("One."), "words": FERTILITY}
    assert evaluate(folder, tasks) == ["search", "words"]
    vectors = folder / "scores" / "search.parquet"
    before = vectors.read_bytes()
    assert evaluate(folder, {**tasks, "pairs": STS}) == ["pairs"]
    assert vectors.read_bytes() == before
    (cached,) = (folder / "cache").glob("search.*.parquet")
    cached.write_bytes(before[:-9])
    assert evaluate(folder, tasks) == ["search"], "what is damaged is made again"
    assert vectors.read_bytes() == before
    tasks["search"] = write_questions("Abcd.")
    assert evaluate(folder, tasks) == ["search"]
    assert len(list((folder / "cache").glob("search.*"))) == 2, "of each task the last are kept"


def test_a_later_model_is_compared_anew_when_the_teachers_vectors_are_others(folder):
    tasks, teacher = (
        {"search": write_questions("One."), "words": FERTILITY},
        {"search": folder / "scores" / "search.parquet"},
    )
    evaluate(folder, tasks)
    assert evaluate(folder, tasks, teacher=teacher, to="-student") == ["search", "words"]
    assert not (folder / "scores-student" / "search.parquet").exists()
    assert evaluate(folder, tasks, teacher=teacher, to="-student") == []
    table = pq.read_table(teacher["search"])
    other = pa.array([[-number for number in vector] for vector in table["vector"].to_pylist()], table["vector"].type)
    pq.write_table(table.set_column(1, "vector", other), teacher["search"])
    assert evaluate(folder, tasks, teacher=teacher, to="-student") == ["search"]
