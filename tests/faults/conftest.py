import fcntl
from pathlib import Path

import pytest

from tests.workflow.conftest import Workflow
from tests.workflow.planner import run


class FaultyRun(Workflow):
    """The small run, with one evaluation task, as often as a test wants to disturb it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config["evaluation"]["tasks"] = {"agreement": {"kind": "agreement"}}

    def run(self, *arguments: str, config: dict | None = None) -> tuple[int, str]:
        """Exit code of snakemake and what it and its jobs said."""
        return run(self.arguments(*arguments, config=config))

    def log(self, name: str) -> str:
        """A rule's log; empty where it has written none."""
        path = self.results / "logs" / name
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def unfinished(self) -> list[Path]:
        """What a job wrote and neither finished nor cleared."""
        return [path for path in self.results.rglob("*") if path.name.endswith(".part")]

    def seconds(self, rule: str) -> float:
        """Wall time of a rule's shortest job."""
        files = list((self.results / "benchmarks").rglob("*.tsv"))
        mine = [file for file in files if file.relative_to(self.results / "benchmarks").parts[0].split(".")[0] == rule]
        return min(float(file.read_text(encoding="utf-8").splitlines()[1].split("\t")[0]) for file in mine)


def without_trace(said: str) -> bool:
    """Whether the user is spared stack traces."""
    return "Traceback" not in said and "unexpected error" not in said


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, worker_id) -> FaultyRun:
    """The small run without a fault, of all workers; the first makes it, and the others find nothing left to do."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent
    with (folder / "undisturbed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = FaultyRun(folder / "undisturbed")
        code, said = done.run("all")
        assert code == 0, said[-5_000:]
    return done


@pytest.fixture(scope="session")
def expected(undisturbed) -> dict[str, str]:
    """What each artifact's files shall be after every fault."""
    digests = undisturbed.digests()
    stages = {name.split("/")[0] for name in digests}
    assert stages >= {"teacher", "corpus", "counts", "vocabulary", "tokenizer", "clone", "vectors"}
    assert stages >= {"distillation", "evaluation", "student"}
    return digests
