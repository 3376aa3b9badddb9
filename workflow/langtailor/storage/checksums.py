"""Checksum files: what a job wrote, and since when it has been so.

A small hidden checksum file is next to each artifact. A file can be whole and still be another language's or
another run's; the checksum file says which content its job wrote there. Its time says since when, so that an artifact
that was rebuilt as it was does not make anything run again.
"""

from __future__ import annotations

import os
from pathlib import Path

from langtailor.errors import ArtifactError
from langtailor.storage.artifacts import MANIFEST_NAME, SNAKEMAKE_MARK, directory_digest, manifest_in, verify_directory
from langtailor.storage.atomic import atomic_file
from langtailor.storage.digests import sha256_file

_SUFFIX = ".sha256"
#: Nanoseconds by which two times differ for Snakemake, which reckons in seconds.
_TICK = 1_000


def write_checksum(path: Path, newest: int) -> None:
    """Write the checksum file of a finished artifact; where it says so already, its time stays.

    Args:
        path: the artifact.
        newest: time of the newest of what it was made from, in nanoseconds; the checksum file's is later.
    """
    checksum_file, digest = _checksum_file(path), _digest(path) + "\n"
    if not checksum_file.is_file() or checksum_file.read_text(encoding="utf-8") != digest:
        with atomic_file(checksum_file) as temporary:
            temporary.write_text(digest, encoding="utf-8")
    if modified(checksum_file) <= newest:
        os.utime(checksum_file, ns=(newest + _TICK, newest + _TICK))


def verify_checksum(path: Path) -> None:
    """Refuse an artifact that is not what its job wrote; what has no checksum file, such as a user's own, passes.

    Raises:
        ArtifactError: it is missing, or was changed or replaced.
    """
    expected = _recorded(path)
    if expected is None:
        return
    if path.is_dir():
        verify_directory(path, remember=True)
    try:
        digest = _digest(path)
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})") from error
    if digest != expected:
        raise ArtifactError(path, "is not what its job wrote: it was damaged, cut or replaced")


def matches_checksum(path: Path) -> bool:
    """Whether a file is what its checksum file, or the manifest of the directory artifact that it is part of, says."""
    expected = _recorded(path) or _sealed(path)
    return expected is not None and expected == sha256_file(path)


def restore_times(root: Path) -> None:
    """Give every artifact below a folder the time of its checksum file.

    One that was rebuilt as it was has its old time again, and what was made from it is not made again. Snakemake gives
    a finished job's outputs the time of day, so that this is for the end of a run.
    """
    for checksum_file in root.rglob(f".*{_SUFFIX}"):
        path = checksum_file.with_name(checksum_file.name[1:].removesuffix(_SUFFIX))
        marked = path / SNAKEMAKE_MARK if path.is_dir() else path
        if marked.is_file():
            since = modified(checksum_file)
            os.utime(marked, ns=(since, since))


def modified(path: Path) -> int:
    """When a file or a directory artifact was written, as Snakemake sees it, in nanoseconds."""
    mark = path / SNAKEMAKE_MARK
    return (mark if mark.is_file() else path).stat().st_mtime_ns


def _recorded(path: Path) -> str | None:
    """The digest in the checksum file, if there is one."""
    try:
        return _checksum_file(path).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def _sealed(path: Path) -> str | None:
    """The digest in the manifest of the directory artifact, if the file is part of one."""
    folder = next((folder for folder in path.parents[:2] if (folder / MANIFEST_NAME).is_file()), None)
    return None if folder is None else manifest_in(folder).files.get(path.relative_to(folder).as_posix())


def _checksum_file(path: Path) -> Path:
    return path.with_name(f".{path.name}{_SUFFIX}")


def _digest(path: Path) -> str:
    return directory_digest(path) if path.is_dir() else sha256_file(path)
