"""The card of an export says first what the export is; scores in its metadata are the export's own."""

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from langtailor.export.certificate import KIND, Certificate, ClientSpeed, Cosines, TaskFigure
from langtailor.export.description import describe
from langtailor.export.format import find_format
from langtailor.export.formats import register_formats
from langtailor.publish.model import repository_card
from langtailor.storage.artifacts import write_json

register_formats()
SPEED = ClientSpeed(threads=1, sentences_per_s=900.0, latency_ms=1.0, latency_95_ms=2.0, load_s=0.1, memory_mb=90.0)
TASKS = {
    "sts-tr": TaskFigure("spearman", 80.0, 74.31, None),
    "bitext": TaskFigure("accuracy", 90.0, 62.8, None),
}


def certificate(tasks):
    made = find_format("static")
    return Certificate(made.bounds, 9, 0, {"tr": Cosines(0.9, 0.8, 9)}, tasks, 1, 2, [SPEED], {"1": 5.0}, [], {})


def card_of(scores):
    data = ModelCardData(
        language=["tr"], license="mit", tags=["langtailor"], model_name="run-tailored", eval_results=scores
    )
    return f"---\n{data.to_yaml()}\n---\n\n# run / tailored\n\nA model.\n\n## Use\n\nWith a prompt.\n"


@pytest.fixture
def described(tmp_path):
    """Makes the folder of an export, and gives its card."""

    def make(scores, tasks):
        write_json(tmp_path / "certificate.json", KIND, certificate(tasks).to_json())
        (tmp_path / "README.md").write_text(card_of(scores), encoding="utf-8")
        describe(tmp_path, find_format("static"), certificate(tasks))
        return ModelCard((tmp_path / "README.md").read_text(encoding="utf-8"))

    return make


STUDENTS = [EvalResult("semantic-similarity", "sts-tr", "sts-tr", "spearman", 80.0)]


def test_metadata_has_the_scores_of_the_export_and_the_rest_of_the_student(described):
    data = described(STUDENTS, TASKS).data
    scores = {(score.dataset_name, score.metric_type): score.metric_value for score in data.eval_results}
    assert scores == {("sts-tr", "spearman"): 74.31, ("bitext", "accuracy"): 62.8}
    assert data.eval_results[0].task_type == "semantic-similarity"
    assert (data.language, data.license, data.tags) == (["tr"], "mit", ["langtailor", "model2vec"])


@pytest.mark.parametrize(("scores", "tasks"), [(STUDENTS, {}), (None, TASKS)])
def test_without_tasks_it_has_no_scores(described, scores, tasks):
    card = described(scores, tasks)
    assert not card.data.eval_results
    assert "model-index" not in card.content


def test_the_export_comes_before_the_student(described):
    card = described(STUDENTS, TASKS).text
    heads = [line for line in card.splitlines() if line.startswith("#")]
    assert heads == ["# run / tailored: static", "## This export", "## The exported model", "## Use"]
    own, _, student = card.partition("## The exported model")
    assert "static model" in own and "sts-tr -5.69" in own
    assert "not of this export" in student and student.rstrip().endswith("With a prompt.")


def test_a_repository_s_card_takes_over_what_is_said_of_the_export_alone(described, tmp_path):
    described(STUDENTS, TASKS)
    student = tmp_path / "student"
    student.mkdir()
    (student / "README.md").write_text(card_of(STUDENTS), encoding="utf-8")
    card = repository_card(student, {"static": tmp_path}, "someone/tailored")
    assert card.startswith(card_of(STUDENTS)) and card.count("## Use") == 1
    assert "## Export `static`" in card and "sts-tr -5.69" in card
