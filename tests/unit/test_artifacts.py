"""Artifacts appear whole or not at all, and damage is noticed by name."""

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from langtailor.errors import ArtifactError, DiskFullError
from langtailor.storage.artifacts import (
    Manifest,
    atomic_directory,
    read_json,
    read_manifest,
    seal_directory,
    write_json,
)
from langtailor.storage.atomic import atomic_file, scratch_directory
from langtailor.storage.checksums import modified, restore_times, verify_checksum, write_checksum


def test_the_command_that_rebuilds_an_artifact_can_be_pasted_into_a_shell():
    said = str(ArtifactError(Path("my results/demo/corpus/tr.parquet"), "is damaged"))
    assert "`snakemake --cores 1 --force 'my results/demo/corpus/tr.parquet'`" in said


def test_a_file_appears_only_when_its_body_succeeds(tmp_path):
    target = tmp_path / "new" / "file.txt"
    with pytest.raises(RuntimeError), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_rewrite_leaves_the_old_file(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "file") as temporary:
            temporary.write_text("x")
        with atomic_directory(tmp_path / "folder", Manifest("thing")) as folder:
            (folder / "x").write_text("x")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_directory_is_sealed_with_the_checksums_of_its_files(tmp_path):
    with atomic_directory(tmp_path / "clone", Manifest("clone", facts={"rows": 3})) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("a")
    manifest = read_manifest(tmp_path / "clone", "clone")
    assert manifest.facts == {"rows": 3}
    assert list(manifest.files) == ["sub/a.txt"]


def test_an_older_directory_is_replaced_whole(tmp_path):
    for name in ("old", "new"):
        with atomic_directory(tmp_path / "x", Manifest("thing")) as folder:
            (folder / name).write_text(name)
    assert {p.name for p in (tmp_path / "x").iterdir()} == {"new", "manifest.json"}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "a.txt").write_text("b"), "a.txt: does not match its checksum"),
        (lambda folder: (folder / "a.txt").unlink(), "a.txt: is missing"),
        (lambda folder: (folder / "b.txt").write_text("b"), "b.txt: does not belong"),
        (lambda folder: (folder / "manifest.json").unlink(), "no readable manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "no readable manifest.json"),
    ],
)
def test_damage_to_a_directory_is_named(tmp_path, damage, says):
    with atomic_directory(tmp_path / "clone", Manifest("clone")) as folder:
        (folder / "a.txt").write_text("a")
    damage(tmp_path / "clone")
    with pytest.raises(ArtifactError, match=says):
        read_manifest(tmp_path / "clone", "clone")


def test_a_directory_of_another_kind_is_refused(tmp_path):
    with atomic_directory(tmp_path / "clone", Manifest("clone")):
        pass
    with pytest.raises(ArtifactError, match="is a 'clone' artifact where 'student' is expected"):
        read_manifest(tmp_path / "clone", "student")


def test_sealing_twice_gives_the_same_bytes(tmp_path):
    (tmp_path / "a").write_text("a")
    seal_directory(tmp_path, Manifest("thing", made_by={"b": 1, "a": [1, 2]}))
    first = (tmp_path / "manifest.json").read_bytes()
    seal_directory(tmp_path, Manifest("thing", made_by={"a": [1, 2], "b": 1}))
    assert (tmp_path / "manifest.json").read_bytes() == first


def test_json_round_trips_and_notices_a_change(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, "thing", {"value": 1.5, "text": "ğ"})
    assert read_json(path, "thing") == {"value": 1.5, "text": "ğ"}
    with pytest.raises(ArtifactError, match="is a 'thing' file where 'other' is expected"):
        read_json(path, "other")
    path.write_text(path.read_text().replace("1.5", "2.5"))
    with pytest.raises(ArtifactError, match="does not match its checksum"):
        read_json(path, "thing")
    path.write_text("[]")
    with pytest.raises(ArtifactError, match="not a readable thing file"):
        read_json(path, "thing")


@pytest.mark.parametrize("writing", [atomic_file, atomic_directory, scratch_directory])
def test_what_a_killed_job_left_goes_with_the_next_attempt(tmp_path, writing):
    target = tmp_path / "x.parquet"
    job = os.fork()
    if not job:
        with writing(target), scratch_directory(tmp_path / "other"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(job, 0)
    left = {path.name.split(".")[1] for path in tmp_path.iterdir()}
    assert left == {"x", "other"}, "nothing stands under its own name"
    with writing(target):
        assert len([path for path in tmp_path.iterdir() if path.name.startswith(".x.")]) == 1
    assert {path.name.split(".")[1] for path in tmp_path.iterdir() if path != target} == {"other"}, "another's stays"


@pytest.mark.parametrize("writing", [atomic_file, atomic_directory])
def test_what_is_written_on_the_way_stays_to_the_end(tmp_path, writing):
    with scratch_directory(tmp_path / "x.parquet") as scratch, writing(tmp_path / "x.parquet"):
        assert scratch.is_dir()


@pytest.mark.parametrize("writing", [atomic_file, atomic_directory, scratch_directory])
@pytest.mark.parametrize(
    "said",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, ""),
        ValueError("I/O error (os error 28)"),
        shutil.Error(["a", "b", "[Errno 28] No space left on device: 'a' -> 'b'"]),
    ],
)
def test_a_full_disk_is_told_with_the_name_of_the_artifact(tmp_path, writing, said):
    with (
        pytest.raises(DiskFullError, match=r"x\.parquet: cannot be written, the disk is full"),
        writing(tmp_path / "x.parquet"),
    ):
        raise RuntimeError("closing failed") from said
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_of_the_folder_and_not_of_a_file_in_it(tmp_path):
    with (
        pytest.raises(DiskFullError, match=r"/clone: cannot"),
        atomic_directory(tmp_path / "clone") as folder,
        atomic_file(folder / "mapping.parquet"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_of_the_artifact_and_not_of_what_was_on_the_way(tmp_path):
    with (
        pytest.raises(DiskFullError, match=r"/tr\.parquet: cannot"),
        scratch_directory(tmp_path / "sample"),
        atomic_file(tmp_path / "tr.parquet"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def corpus(tmp_path) -> Path:
    path = tmp_path / "tr.parquet"
    path.write_text("bir")
    write_checksum(path, 0)
    verify_checksum(path)
    return path


@pytest.mark.parametrize("change", [lambda path: path.write_text("iki"), lambda path: path.write_text(""), Path.unlink])
def test_what_its_job_did_not_write_is_refused(corpus, change):
    change(corpus)
    with pytest.raises(ArtifactError, match=r"tr\.parquet: .*--force [^ ]*tr\.parquet`"):
        verify_checksum(corpus)


def test_a_whole_directory_of_another_run_is_refused(tmp_path):
    for name in ("mine", "other"):
        with atomic_directory(tmp_path / name, Manifest("clone", made_by={"name": name})):
            pass
        write_checksum(tmp_path / name, 0)
    (tmp_path / "mine").rename(tmp_path / "away")
    (tmp_path / "other").rename(tmp_path / "mine")
    read_manifest(tmp_path / "mine", "clone")
    with pytest.raises(ArtifactError, match="mine: is not what its job wrote"):
        verify_checksum(tmp_path / "mine")


def test_damage_inside_a_directory_names_the_file_and_rebuilds_the_directory(tmp_path):
    with atomic_directory(tmp_path / "clone", Manifest("clone")) as folder:
        (folder / "a.txt").write_text("a")
    (tmp_path / "clone" / "a.txt").write_text("b")
    with pytest.raises(ArtifactError, match=r"clone/a\.txt: .*--force [^ ]*/clone`"):
        read_manifest(tmp_path / "clone", "clone")


def test_a_user_s_own_file_is_not_looked_at(tmp_path):
    verify_checksum(tmp_path / "mine.txt")


def test_what_is_rebuilt_as_it_was_has_its_time_again(corpus):
    before = modified(corpus.with_name(".tr.parquet.sha256"))
    for content, later, expected in [
        ("bir", 0, before),
        ("bir", before, before + 1_000),
        ("iki", before + 10**12, before + 10**12 + 1_000),
    ]:
        corpus.write_text(content)
        write_checksum(corpus, later)
        os.utime(corpus, ns=(before + 99_000, before + 99_000))
        restore_times(corpus.parent)
        assert modified(corpus) == expected


def test_a_directory_s_time_is_that_of_snakemake_s_mark(tmp_path):
    path = tmp_path / "clone"
    with atomic_directory(path, Manifest("clone")):
        pass
    write_checksum(path, 0)
    (path / ".snakemake_timestamp").touch()
    os.utime(path / ".snakemake_timestamp", (9_000_000_000, 9_000_000_000))
    assert modified(path) == 9_000_000_000 * 10**9
    restore_times(tmp_path)
    assert modified(path) == modified(tmp_path / ".clone.sha256")
    verify_checksum(path)
