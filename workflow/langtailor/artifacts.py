"""Atomic writes, checksums and manifests: the ground under every artifact.

An artifact appears under its name only once it is complete: it is written beside it, flushed to disk
and renamed. A *manifest* says what kind of artifact it is, what made it and, for directories, the
SHA-256 of each file in it. Nothing here depends on the clock, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from langtailor.errors import ArtifactError

MANIFEST_NAME = "manifest.json"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What an artifact is and what made it.

    Attributes:
        kind: the artifact's kind, for example ``corpus`` or ``clone``.
        made_by: the settings that shaped it, JSON-ready.
        inputs: digests or names of what it was made from.
        facts: figures about the content (rows, coverage, ...), JSON-ready.
        files: SHA-256 by relative path (directories only; filled in when sealing).
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


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in ``path``'s folder; on success flush it and rename it to ``path``.

    When the body raises, the temporary file is removed and ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _match_umask(temporary)
        fsync_path(temporary)
        os.replace(temporary, path)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield temporary
        if manifest is not None:
            seal_directory(temporary, manifest)
        os.chmod(temporary, 0o777 & ~_umask())
        for entry in sorted(temporary.rglob("*")):
            if entry.is_file():
                _match_umask(entry)  # safetensors writes files that only their owner may read
            fsync_path(entry)
        fsync_path(temporary)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
        fsync_path(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def seal_directory(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` into ``folder`` with the SHA-256 of every other file below it."""
    files = {
        entry.relative_to(folder).as_posix(): sha256_file(entry)
        for entry in sorted(folder.rglob("*"))
        if entry.is_file() and entry.relative_to(folder).as_posix() != MANIFEST_NAME
    }
    sealed = Manifest(manifest.kind, manifest.made_by, manifest.inputs, manifest.facts, files)
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
    try:
        manifest = Manifest.from_json((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(folder, f"has no readable {MANIFEST_NAME} ({error})") from error
    if manifest.kind != kind:
        raise ArtifactError(folder, f"is a {manifest.kind!r} artifact where {kind!r} is expected")
    if verify:
        _verify_files(folder, manifest)
    return manifest


def directory_digest(folder: Path) -> str:
    """SHA-256 of a directory artifact's manifest: changes when any file of it changes."""
    return sha256_file(folder / MANIFEST_NAME)


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
        found = body["artifact"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArtifactError(path, f"is not a readable {kind} file ({error!r})") from error
    if found != kind:
        raise ArtifactError(path, f"is a {found!r} file where {kind!r} is expected")
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


def _verify_files(folder: Path, manifest: Manifest) -> None:
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {MANIFEST_NAME}
    # Snakemake marks a finished directory output with a file of its own.
    present -= {".snakemake_timestamp"}
    for name, expected in manifest.files.items():
        if name not in present:
            raise ArtifactError(folder / name, "is missing")
        if sha256_file(folder / name) != expected:
            raise ArtifactError(folder / name, "does not match its checksum")
    if added := sorted(present - set(manifest.files)):
        raise ArtifactError(folder / added[0], "does not belong to this artifact")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _match_umask(path: Path) -> None:
    os.chmod(path, 0o666 & ~_umask())
