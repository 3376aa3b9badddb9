"""A disk that fills while a stage writes: one message, nothing half-written, and the same bytes once there is room."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.conftest import FaultyRun, without_trace

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

_PAGE = 4_096


@dataclass(frozen=True)
class Stage:
    """A stage and what it writes.

    Attributes:
        artifact: what is made anew on the full disk.
        rule: its rule.
    """

    artifact: str
    rule: str


STAGES = [
    Stage("teacher/model", "fetch_teacher"),
    Stage("corpus/documents/tr.parquet", "fetch_documents"),
    Stage("corpus/tr.parquet", "build_corpus"),
    Stage("counts/tr.parquet", "count_tokens"),
    Stage("vocabulary/tailored.parquet", "select_vocabulary"),
    Stage("tokenizer/tailored", "write_tokenizer"),
    Stage("clone/tailored", "clone_model"),
    Stage("vectors/0000", "teacher_vectors"),
    Stage("distillation/tailored/tokens/en.arrow", "tokenize_corpora"),
    Stage("distillation/tailored/model", "distil"),
    Stage("evaluation/tailored/student", "evaluate"),
    Stage("student/tailored", "assemble_student"),
    Stage("report.html", "write_report"),
]


class SmallDisk:
    """The finished run on a disk of its own that a ballast can fill."""

    def __init__(self, run: FaultyRun) -> None:
        self.run = run
        self._ballast = run.folder / "results" / "ballast"

    def fill(self, left: int) -> None:
        """Leave so many bytes."""
        disk = os.statvfs(self._ballast.parent)
        with self._ballast.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, disk.f_bavail * disk.f_frsize - left)

    def empty(self) -> None:
        self._ballast.unlink()

    def remove(self, artifact: Path) -> int:
        """Bytes that an artifact took. Its checksum file stays, and with it the time since when it has been so."""
        files = [path for path in artifact.rglob("*") if path.is_file()] if artifact.is_dir() else [artifact]
        taken = sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in files)
        subprocess.run(["rm", "-r", artifact], check=True)
        return taken


@pytest.fixture(scope="module")
def disk(undisturbed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    (folder / "results").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder / "results"]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(undisturbed.copy(folder))
    finally:
        subprocess.run(["umount", "-l", folder / "results"], check=True)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.rule)
def test_a_full_disk_is_told_and_loses_nothing(disk, expected, stage):
    run, target = disk.run, f"results/small/{stage.artifact}"
    # Other names of the same bytes would be taken back.
    subprocess.run(["rm", "-rf", run.results / "shard_cache", run.results / "score_cache"], check=True)
    taken = disk.remove(run.folder / target)
    before = run.digests()
    # Half of what is needed; the log, which is written anew, has its page.
    disk.fill(taken // 2 // _PAGE * _PAGE)
    code, said = run.run(target)
    disk.empty()
    assert code != 0
    named = [line for line in said.splitlines() if "cannot be written, the disk is full" in line]
    assert named, said
    assert re.match(rf"\[{stage.rule}\b[^]]*\] error: results/small/", named[0]), said
    assert without_trace(said)
    assert not (run.folder / target).exists()
    assert run.unfinished() == []
    assert {name: digest for name, digest in run.digests().items() if before.get(name) != digest} == {}
    code, said = run.run(target)
    assert code == 0, said
    assert run.digests() == expected
