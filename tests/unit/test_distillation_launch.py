"""A training in several processes: the same student, errors that are told, and nothing left running."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from langtailor.distillation.launch import Processes, distil_in_processes
from langtailor.errors import ConfigError, TrainingError
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import World, make_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TWO = Processes(2, 1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


def distil_in_two(world: World, out: Path, **settings) -> Path:
    distil_in_processes(world.training(out, out.with_name("checkpoints"), **settings), TWO)
    return out


def curve(student: Path) -> list[float]:
    lines = [json.loads(line) for line in (student / "training.jsonl").read_text().splitlines()]
    return [line.get("loss") or line["validation"]["loss"] for line in lines]


@pytest.mark.parametrize(
    "objective",
    [{"cosine": 1}, {"cosine": 10, "relational": 200}, {"cosine": 1, "hidden_states": 0.5}],
    ids=["cosine", "mix", "hidden states"],
)
def test_two_processes_follow_the_loss_curve_of_one(world, tmp_path, objective, caplog, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # what another program's launcher may have left
    settings = {"objective": objective, "new_rows_only": 0.3, "validate_every": 7, "micro_batch_tokens": 40}
    alone = world.distil(tmp_path / "alone", **settings)
    with caplog.at_level(logging.INFO, "langtailor"):
        together = distil_in_two(world, tmp_path / "together", **settings)
    assert curve(together) == pytest.approx(curve(alone), rel=1e-4)
    assert "training in 2 processes" in caplog.text
    assert caplog.text.count("writing the student") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "alone.checkpoints", "checkpoints", "together"]


def test_what_stops_a_process_is_told(world, tmp_path):
    with pytest.raises(TrainingError, match="is not finite"):
        distil_in_two(world, tmp_path / "student", learning_rate=1e36, clip_norm=1e30, warmup=0)
    with pytest.raises((TrainingError, ConfigError), match="found 7, which 2 processes cannot divide evenly"):
        distil_in_two(world, tmp_path / "student", batch_size=7)
    assert not (tmp_path / "student").exists()


PARENT = """
import sys
from pathlib import Path
from tests.unit.test_distillation_launch import World, distil_in_two
distil_in_two(World(Path(sys.argv[1])), Path(sys.argv[2]), epochs=2000)
"""


def test_the_processes_end_with_the_one_that_has_started_them(world, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PARENT, str(world.root), str(tmp_path / "student")]
    parent = subprocess.Popen(command, env=environment)
    wait_for((tmp_path / "checkpoints" / "metrics.jsonl").is_file)
    assert running(tmp_path)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not running(tmp_path))


def running(folder: Path) -> list[str]:
    """Commands of the processes that work in a folder."""
    commands = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            commands.append(process.read_text().replace("\0", " "))
    return [command for command in commands if f"langtailor.distillation.launch {folder}" in command]


def wait_for(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
