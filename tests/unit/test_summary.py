"""What a run says at its end."""

from langtailor.evaluation.scores import Evaluation, Score
from langtailor.planning.summary import summary


def write(root, folder, task, metric, value, group=None):
    path = root / "evaluation" / folder / f"{task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    Evaluation(task, "sts", "digest", (Score(metric, value, None, None, 5, group),)).write(path)


def test_it_has_the_main_figure_of_each_task_for_each_step_and_where_to_look(tmp_path):
    steps = {"teacher": "teacher", "cut": "small/clone", "trained": "small/student"}
    for folder, value in zip(steps.values(), (80.0, 79.86, 81.456), strict=True):
        write(tmp_path, folder, "sts", "spearman", value)
        write(tmp_path, folder, "agreement", "cosine", value / 100, "all")
    (tmp_path / "report.html").touch()
    (tmp_path / "student" / "small").mkdir(parents=True)
    assert summary(tmp_path, {"small": steps}, ["agreement", "sts", "later"]) == [
        "",
        "small                    teacher  cut only  trained",
        "agreement (cosine, all)      0.8    0.7986   0.8146",
        "sts (spearman)                80     79.86    81.46",
        "",
        f"report: {tmp_path / 'report.html'}",
        f"model: {tmp_path / 'student' / 'small'}",
    ]


def test_without_evaluation_it_says_where_to_look(tmp_path):
    (tmp_path / "report.html").touch()
    assert summary(tmp_path, {"small": {"teacher": "teacher"}}, []) == ["", f"report: {tmp_path / 'report.html'}"]
