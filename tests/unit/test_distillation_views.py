"""Where a training is seen while it runs: trackers get what TensorBoard gets, and shape nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType

from langtailor.config.distillation import NON_SEMANTIC_SETTINGS, DistillationSettings
from langtailor.distillation.launch import Processes, distil_in_processes
from langtailor.distillation.views import check_views, open_views
from langtailor.errors import ConfigError
from langtailor.storage.artifacts import read_manifest
from langtailor.storage.digests import sha256_file
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import DEFAULTS, World, make_world

WEIGHTS = "model.safetensors"


class Recorder(GeneralTracker):
    """A tracker that keeps what it is given; stands in for `mlflow`, whose package the tests do not need."""

    name = "mlflow"
    requires_logging_directory = False
    #: The started ones, in order.
    started: tuple[Recorder, ...] = ()
    #: Step from which on it fails.
    fails_from = 10**9

    def __init__(self, project: str, run_name: str | None = None) -> None:
        super().__init__()
        self.project, self.title = project, run_name
        self.facts: dict[str, Any] = {}
        self.steps: list[tuple[int | None, dict[str, float]]] = []
        self.finished = False

    @property
    def tracker(self) -> Recorder:
        return self

    def start(self) -> None:
        Recorder.started += (self,)

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.facts = values

    def log(self, values: dict[str, float], step: int | None = None, **kwargs: Any) -> None:
        if step is not None and step >= self.fails_from:
            raise ConnectionError("the server is gone")
        self.steps.append((step, values))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


@pytest.fixture
def recorder(monkeypatch) -> type[Recorder]:
    """The tracker in the place of mlflow's, as if that were installed."""
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "mlflow", Recorder)
    monkeypatch.setattr(tracking, "_available_trackers", [LoggerType.MLFLOW])
    monkeypatch.setattr(Recorder, "started", ())
    return Recorder


def live_lines(student: Path) -> list[dict[str, Any]]:
    metrics = student.with_name(f"{student.name}.checkpoints") / "metrics.jsonl"
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]


def test_a_tracker_gets_every_metric_at_its_step_and_shapes_nothing(world, recorder, tmp_path):
    plain = world.distil(tmp_path / "plain", epochs=0.5)
    assert recorder.started == ()
    student = world.distil(tmp_path / "student", epochs=0.5, report_to=["mlflow"])
    (run,) = recorder.started
    live = live_lines(student)
    assert [step for step, _ in run.steps] == [line["step"] for line in live]
    for (_, values), line in zip(run.steps, live, strict=True):
        assert all(isinstance(value, float) for value in values.values())
        if "validation" in line:
            assert values["validation/languages/tr/cosine"] == line["validation"]["languages"]["tr"]["cosine"]
        else:
            assert (values["loss"], values["tokens_per_s"]) == (line["loss"], line["tokens_per_s"])
    assert run.finished
    names = sorted(path.relative_to(plain) for path in plain.rglob("*") if path.is_file())
    assert [sha256_file(plain / name) for name in names] == [sha256_file(student / name) for name in names]


def test_a_tracker_knows_the_settings_and_the_title_and_no_secret(world, recorder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    world.distil(tmp_path / "student", epochs=0.5, report_to=["mlflow"], learning_rate=0.002)
    (run,) = recorder.started
    assert (run.project, run.title) == ("langtailor", "training")
    assert run.facts["learning_rate"] == 0.002
    assert set(DistillationSettings.model_fields) - set(run.facts) == set(NON_SEMANTIC_SETTINGS)
    assert "hf_secret" not in repr([run.facts, run.steps])


def test_a_training_goes_on_without_a_tracker_that_fails(world, recorder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(recorder, "fails_from", 3)
    student = world.distil(tmp_path / "student", epochs=0.5, report_to=["mlflow"])
    assert caplog.text.count("mlflow gets no metrics from step 3 on: the server is gone") == 1
    assert max(step for step, _ in recorder.started[0].steps) == 2
    assert read_manifest(student, "distilled").facts["steps"] > 3


def test_a_tracker_that_does_not_start_ends_the_job_before_the_training(world, recorder, tmp_path, monkeypatch):
    def refuse(self: Recorder) -> None:
        raise PermissionError("no API key")

    monkeypatch.setattr(recorder, "start", refuse)
    with pytest.raises(ConfigError, match=r"config `distillation.report_to`: mlflow cannot be started: no API key"):
        world.distil(tmp_path / "student", report_to=["mlflow"])
    assert not (tmp_path / "student").exists()
    assert not (tmp_path / "student.checkpoints" / "metrics.jsonl").exists()


def test_a_missing_package_is_named_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(tracking, "_available_trackers", [])
    with pytest.raises(
        ConfigError, match="found 'wandb', but accelerate finds no such package: run `pip install wandb`"
    ):
        check_views(DistillationSettings(report_to=["wandb"]))


def test_tensorboard_that_is_missing_is_named_as_early(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(
        ConfigError, match=r"config `distillation.tensorboard`: found true, but the package is not installed"
    ):
        check_views(DistillationSettings(tensorboard=True))


def test_other_processes_than_the_main_one_show_nothing(recorder, tmp_path):
    accelerator = SimpleNamespace(is_main_process=False)
    with open_views(accelerator, DistillationSettings(report_to=["mlflow"]), tmp_path, "title", {}) as views:
        assert views == []
    assert recorder.started == ()


def test_the_names_are_those_that_accelerate_knows_beside_tensorboard():
    names = get_args(get_args(DistillationSettings.model_fields["report_to"].annotation)[0])
    assert set(names) == set(tracking.LOGGER_TYPE_TO_CLASS) - {"tensorboard"}


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_mlflow_gets_one_run_of_however_many_processes(world, tmp_path, monkeypatch, processes):
    mlflow = pytest.importorskip("mlflow")
    address = (tmp_path / "runs").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    settings = {**DEFAULTS, "epochs": 0.5, "report_to": ["mlflow"]}
    out = tmp_path / "student"
    if processes == 1:
        world.distil(out, **settings)
    else:
        distil_in_processes(world.training(out, **settings), Processes(processes, 1))
    client = mlflow.MlflowClient(address)
    (experiment,) = client.search_experiments(filter_string="name = 'langtailor'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("training", "FINISHED")
    losses = [metric.value for metric in client.get_metric_history(run.info.run_id, "loss")]
    assert losses == pytest.approx([line["loss"] for line in live_lines(out) if "loss" in line])
    assert run.data.params["learning_rate"] == str(settings["learning_rate"])
