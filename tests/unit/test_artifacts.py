"""Artifacts appear whole or not at all, and damage is noticed by name."""

import os

import pytest

from langtailor.artifacts import (
    Manifest,
    atomic_directory,
    atomic_file,
    read_json,
    read_manifest,
    seal_directory,
    write_json,
)
from langtailor.errors import ArtifactError


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
