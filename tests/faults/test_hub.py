"""A hub in trouble: the run waits, goes on where it broke off, and ends in the same bytes."""

import re
from pathlib import Path

import pytest

from tests.conftest import HUB
from tests.faults.conftest import FaultyRun, without_trace
from tests.hub.server import Hub

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

_TARGET = "results/small/teacher/model"


@pytest.fixture
def hub():
    HUB.clear()
    yield HUB
    HUB.clear()


def run_from(hub: Hub, folder: Path) -> FaultyRun:
    """The small run with its teacher on the hub."""
    folder.mkdir(exist_ok=True)
    run = FaultyRun(folder)
    teacher = Path(run.config["teacher"]["model"])
    names = {path.relative_to(teacher).as_posix(): path for path in teacher.rglob("*") if path.is_file()}
    hub.model("someone/teacher", {name: path.read_bytes() for name, path in names.items()})
    run.config["teacher"] = {"model": "someone/teacher"}
    return run


def test_passing_troubles_change_nothing(hub, tmp_path):
    calm, troubled = (run_from(hub, tmp_path / name) for name in ("calm", "troubled"))
    code, said = calm.run(_TARGET)
    assert code == 0, said
    hub.fail("/api/models/someone/teacher", status=429, headers={"Retry-After": "1"})
    hub.fail("/tree/", status=503)
    hub.fail("/tree/", cut=20)
    hub.fail("/resolve/", wait=1.0)
    hub.fail("Signature", reset=1_000)
    hub.fail("Signature", drip=0.2)
    code, said = troubled.run(_TARGET)
    assert code == 0, said
    assert {"429", "503"} <= set(re.findall(r"answers (\d+)", said))
    assert troubled.digests() == calm.digests()


def test_a_wrong_hash_and_a_hub_that_stays_away_are_told_and_lose_nothing(hub, tmp_path):
    run = run_from(hub, tmp_path)
    hub.fail("Signature", times=9, flip=True)
    code, said = run.run(_TARGET)
    assert code != 0
    assert "the content of model.safetensors does not match the hash" in said
    assert without_trace(said)
    assert not (run.folder / _TARGET).exists()
    hub.heal()
    hub.fail("/api/", times=99, status=429, headers={"Retry-After": "3600"})
    code, said = run.run(_TARGET)
    assert code != 0
    assert "asks to wait 3,600 s" in said
    assert without_trace(said)
    hub.heal()
    code, said = run.run(_TARGET)
    assert code == 0, said
    assert not [request for request in hub.seen("Signature") if request.status != 200]
