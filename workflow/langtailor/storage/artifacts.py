"""Atomic writes, digests and manifests: the ground under every artifact.

An artifact appears under its name only once it is complete: it is written beside it, flushed to disk and renamed. What
a killed job left beside it goes with the next attempt. A *manifest* says what kind of artifact it is, what made it and,
for directories, the SHA-256 of each file in it. Nothing here depends on the clock, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from langtailor.errors import ArtifactError, DiskFullError, LangtailorError, is_disk_full

MANIFEST_NAME = "manifest.json"
#: Snakemake marks a finished directory output with a file of its own.
SNAKEMAKE_MARK = ".snakemake_timestamp"
#: Files in an artifact's folder that belong to no artifact.
_NOT_SEALED = frozenset({MANIFEST_NAME, SNAKEMAKE_MARK})
_UNFINISHED = ".part"
#: Pattern of what `tempfile` puts into a name.
_RANDOM = "?" * 8
_CHUNK_BYTES = 1 << 20
#: Nanoseconds between two changes of a file that may leave it with the same time: some file systems count in two seconds.
_COARSEST_TIME = 2 * 10**9


@dataclass(frozen=True)
class Manifest:
    """What an artifact is and what made it.

    Attributes:
        kind: the artifact's kind, for example ``corpus`` or ``clone``.
        made_by: the settings that shaped it, JSON-ready.
        inputs: digests or names of what it was made from.
        facts: figures about the content (rows, coverage, ...), JSON-ready.
        files: SHA-256 by relative path (directories only; computed when sealing unless given).
    """

    kind: str
    made_by: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """The manifest as canonical JSON (sorted keys, no clock, no host name)."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Inverse of :meth:`to_json`. Raises ``ValueError`` or ``TypeError`` on foreign content."""
        return cls(**json.loads(text))


def canonical_json(value: Any, *, indent: int | None = None) -> str:
    """JSON with sorted keys and unescaped Unicode: equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, indent=indent, allow_nan=False)


def sha256_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of a buffer as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class _FileState(NamedTuple):
    """What tells one content of a file from another without reading it."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits.

    A job hashes its inputs before it starts, and names them by their digests in what it makes. So a process remembers a
    digest for as long as the file stays as it is: the same inode, with the same size and times. Every change moves the
    time of the last change (``ctime``), which programs cannot set. Only a file that changed a moment ago could change
    again within one tick of the file system's clock; its digest is not remembered, as in git's index
    (https://git-scm.com/docs/racy-git).
    """
    stat = path.stat()
    state = _FileState(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if time.time_ns() - max(state.modified, state.changed) < _COARSEST_TIME:
        return _hash_file(path)
    return _remembered_digest(path, state)


@lru_cache(maxsize=4_096)
def _remembered_digest(path: Path, _: _FileState) -> str:
    return _hash_file(path)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its relative path; the manifest and Snakemake's mark are left out."""
    files = {entry.relative_to(folder).as_posix(): entry for entry in sorted(folder.rglob("*")) if entry.is_file()}
    return {name: sha256_file(path) for name, path in files.items() if name not in _NOT_SEALED}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in ``path``'s folder; on success flush it and rename it to ``path``.

    When the body raises, the temporary file is removed and ``path`` stays as it was.
    """
    with _room_for(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_UNFINISHED, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _match_umask(temporary)
            fsync_path(temporary)
            temporary.replace(path)
            fsync_path(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, manifest: Manifest | None = None) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``; on success seal, flush and rename it.

    Args:
        path: where the folder shall appear; an older one there is replaced.
        manifest: if given, ``manifest.json`` with the checksum of every file is added. A body that
            learns its facts on the way writes its own with :func:`seal_directory` instead.
    """
    with _directory_beside(path) as temporary:
        yield temporary
        if manifest is not None:
            seal_directory(temporary, manifest)
        temporary.chmod(0o777 & ~_umask())
        for entry in sorted(temporary.rglob("*")):
            if entry.is_file():
                _match_umask(entry)  # safetensors writes files that only their owner may read
            fsync_path(entry)
        fsync_path(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        fsync_path(path.parent)


@contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``, for what is written on the way to it; it goes with the context."""
    with _directory_beside(path, "scratch.") as temporary:
        yield temporary


@contextmanager
def _directory_beside(path: Path, what: str = "") -> Iterator[Path]:
    with _room_for(path, what):
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.{what}", suffix=_UNFINISHED, dir=path.parent))
        try:
            yield temporary
        except DiskFullError as error:
            # A file inside is nothing that the user has asked for.
            raise DiskFullError(path) if temporary in error.path.parents else error from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _room_for(path: Path, what: str = "") -> Iterator[None]:
    """Make the folder that ``path`` stands in, without what a killed job left there, and name ``path`` on a full disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for unfinished in path.parent.glob(f".{glob.escape(path.name)}.{what}{_RANDOM}{_UNFINISHED}"):
            shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()
        yield
    except LangtailorError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise DiskFullError(path) from error
        raise


def seal_directory(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` into ``folder`` with the SHA-256 of every other file below it.

    Where the manifest has the digests already, they are taken as they are (:func:`file_digests`).
    """
    sealed = replace(manifest, files=manifest.files or file_digests(folder))
    (folder / MANIFEST_NAME).write_text(canonical_json(asdict(sealed), indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path, kind: str, *, verify: bool = True) -> Manifest:
    """Read the manifest of a directory artifact and check it.

    Args:
        folder: the artifact.
        kind: the kind that the caller expects.
        verify: compare every file with its recorded checksum.

    Raises:
        ArtifactError: no manifest, another kind, a file missing, added or changed.
    """
    manifest = verify_directory(folder) if verify else manifest_in(folder)
    if manifest.kind != kind:
        raise ArtifactError(folder, f"is a {manifest.kind!r} artifact where {kind!r} is expected")
    return manifest


def verify_directory(folder: Path) -> Manifest:
    """Compare every file of a directory artifact with its manifest, and return that.

    Raises:
        ArtifactError: no manifest, or a file is missing, added or changed.
    """
    manifest, digests = manifest_in(folder), file_digests(folder)
    for name, expected in manifest.files.items():
        if name not in digests:
            raise ArtifactError(folder / name, "is missing")
        if digests[name] != expected:
            raise ArtifactError(folder / name, "does not match its checksum")
    if added := sorted(digests.keys() - manifest.files.keys()):
        raise ArtifactError(folder / added[0], "does not belong to this artifact")
    return manifest


def directory_digest(folder: Path) -> str:
    """SHA-256 of a directory artifact's manifest: changes when any file of it changes."""
    return sha256_file(folder / MANIFEST_NAME)


def manifest_in(folder: Path) -> Manifest:
    """The manifest of a directory artifact, of which nothing is checked.

    Raises:
        ArtifactError: there is none that can be read.
    """
    try:
        return Manifest.from_json((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(folder, f"has no readable {MANIFEST_NAME} ({error})") from error


def write_json(path: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write a JSON artifact atomically: ``content`` plus its kind as ``artifact`` and a ``checksum`` over both."""
    body = {**content, "artifact": kind}
    with atomic_file(path) as temporary:
        sealed = {**body, "checksum": sha256_bytes(canonical_json(body).encode())}
        temporary.write_text(canonical_json(sealed, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """Read what :func:`write_json` wrote, without ``artifact`` and ``checksum``.

    Raises:
        ArtifactError: the file is missing, not JSON, of another kind, or changed since.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        checksum = body.pop("checksum")
        actual = body["artifact"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArtifactError(path, f"is not a readable {kind} file ({error!r})") from error
    if actual != kind:
        raise ArtifactError(path, f"is a {actual!r} file where {kind!r} is expected")
    if sha256_bytes(canonical_json(body).encode()) != checksum:
        raise ArtifactError(path, "does not match its checksum")
    del body["artifact"]
    return dict(body)


def fsync_path(path: Path) -> None:
    """Flush a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _match_umask(path: Path) -> None:
    path.chmod(0o666 & ~_umask())
