"""Digests of files: which are read, and which are remembered."""

import os
from collections import Counter
from pathlib import Path

import pytest

from langtailor.errors import ArtifactError
from langtailor.storage import digests
from langtailor.storage.artifacts import Manifest, atomic_directory, directory_digest, read_manifest, verify_directory
from langtailor.storage.checksums import verify_checksum, write_checksum
from langtailor.storage.digests import sha256_bytes, sha256_file


@pytest.fixture
def hashed(monkeypatch) -> Counter[str]:
    """How often each file was read to hash it."""
    counts: Counter[str] = Counter()
    hash_file = digests._hash_file

    def counted(path: Path) -> str:
        counts[path.name] += 1
        return hash_file(path)

    monkeypatch.setattr(digests, "_hash_file", counted)
    return counts


@pytest.fixture
def fine_clock(monkeypatch) -> None:
    """A file of this moment counts as old."""
    monkeypatch.setattr(digests, "_COARSEST_TIME", 0)


@pytest.mark.usefixtures("fine_clock")
def test_an_input_is_hashed_once_however_often_its_digest_is_asked_for(tmp_path, hashed):
    with atomic_directory(tmp_path / "clone", Manifest("clone")) as folder:
        (folder / "a.txt").write_text("a")
    (tmp_path / "tr.parquet").write_text("bir")
    for path in (tmp_path / "clone", tmp_path / "tr.parquet"):
        write_checksum(path, 0)
    hashed.clear()
    for _ in range(2):  # as a job does, and the stage in it
        verify_checksum(tmp_path / "clone")
        read_manifest(tmp_path / "clone", "clone")
        directory_digest(tmp_path / "clone")
        verify_checksum(tmp_path / "tr.parquet")
        assert sha256_file(tmp_path / "tr.parquet") == sha256_bytes(b"bir")
    assert set(hashed.values()) <= {1}
    assert hashed.total() <= 3


@pytest.mark.usefixtures("fine_clock")
def test_a_changed_file_is_hashed_anew_even_with_its_old_size_and_time(tmp_path):
    path = tmp_path / "x"
    path.write_text("bir")
    before = path.stat()
    assert sha256_file(path) == sha256_bytes(b"bir")
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of the file system ticks every few milliseconds
        path.write_text("iki")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sha256_file(path) == sha256_bytes(b"iki")


def test_a_file_that_could_change_within_a_tick_of_the_clock_is_hashed_each_time(tmp_path, hashed):
    path = tmp_path / "x"
    path.write_bytes(b"bir")
    for _ in range(3):
        assert sha256_file(path) == sha256_bytes(b"bir")
    assert hashed["x"] == 3


@pytest.fixture
def teacher(tmp_path, monkeypatch) -> Path:
    """A folder that counts as large."""
    monkeypatch.setattr(digests, "_WORTH_REMEMBERING", 6)
    with atomic_directory(tmp_path / "model", Manifest("teacher")) as folder:
        (folder / "model.safetensors").write_text("weights")
    return tmp_path / "model"


def another_process() -> None:
    digests._remembered_digest.cache_clear()


@pytest.mark.usefixtures("fine_clock")
def test_of_many_processes_the_first_hashes_a_large_model(teacher, hashed):
    for _ in range(3):
        another_process()
        verify_directory(teacher, remember=True)
    assert hashed == {"model.safetensors": 1}


@pytest.mark.usefixtures("fine_clock")
def test_a_small_folder_leaves_nothing_beside_it(tmp_path):
    with atomic_directory(tmp_path / "clone", Manifest("clone")) as folder:
        (folder / "a.txt").write_text("a")
    verify_directory(tmp_path / "clone", remember=True)
    assert [path.name for path in tmp_path.iterdir()] == ["clone"]


@pytest.mark.usefixtures("fine_clock")
def test_a_remembered_model_that_changed_is_refused(teacher):
    weights = teacher / "model.safetensors"
    verify_directory(teacher, remember=True)
    before = weights.stat()
    another_process()
    while weights.stat().st_ctime_ns == before.st_ctime_ns:
        weights.write_text("WEIGHTS")
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ArtifactError, match="does not match its checksum"):
        verify_directory(teacher, remember=True)


@pytest.mark.usefixtures("fine_clock")
@pytest.mark.parametrize("found", ["", "[]", '{"model.safetensors": 1}', '{"model.safetensors": ["x", [1]]}'])
def test_unreadable_remembered_digests_are_made_anew(teacher, hashed, found):
    verify_directory(teacher, remember=True)
    teacher.with_name(".model.digests").write_text(found)
    another_process()
    verify_directory(teacher, remember=True)
    assert hashed == {"model.safetensors": 2}


def test_a_model_written_a_moment_ago_is_not_remembered(teacher, hashed):
    for _ in range(2):
        another_process()
        verify_directory(teacher, remember=True)
    assert hashed == {"model.safetensors": 2}


@pytest.mark.usefixtures("fine_clock")
def test_a_place_that_cannot_be_written_costs_time_alone(teacher, hashed, monkeypatch):
    def refuse(path: Path):
        raise PermissionError(path)

    monkeypatch.setattr(digests, "atomic_file", refuse)
    for _ in range(2):
        another_process()
        verify_directory(teacher, remember=True)
    assert hashed == {"model.safetensors": 2}
