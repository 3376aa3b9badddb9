"""Artifacts and their manifests.

A *manifest* says what kind of artifact it is, what made it and, for directories, the SHA-256 of each file in it. Nothing
here depends on the clock, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from langtailor.errors import ArtifactError
from langtailor.storage.atomic import atomic_file, directory_beside, fsync_path, match_umask, umask
from langtailor.storage.digests import sha256_bytes, sha256_file, sha256_files

MANIFEST_NAME = "manifest.json"
#: Snakemake marks a finished directory output with a file of its own.
SNAKEMAKE_MARK = ".snakemake_timestamp"
#: Files in an artifact's folder that belong to no artifact.
_NOT_SEALED = frozenset({MANIFEST_NAME, SNAKEMAKE_MARK})


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


@contextmanager
def atomic_directory(path: Path, manifest: Manifest | None = None) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``; on success seal, flush and rename it.

    Args:
        path: where the folder is created; an older one there is replaced.
        manifest: if given, ``manifest.json`` with the checksum of every file is added. A body that
            learns its facts on the way writes its own with :func:`seal_directory` instead.
    """
    with directory_beside(path) as temporary:
        yield temporary
        if manifest is not None:
            seal_directory(temporary, manifest)
        temporary.chmod(0o777 & ~umask())
        for entry in sorted(temporary.rglob("*")):
            if entry.is_file():
                match_umask(entry)  # safetensors writes files that only their owner may read
            fsync_path(entry)
        fsync_path(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        fsync_path(path.parent)


def file_digests(folder: Path, *, remember: bool = False) -> dict[str, str]:
    """SHA-256 of every file below a folder by its relative path; the manifest and Snakemake's mark are left out.

    ``remember`` is that of :func:`~langtailor.storage.digests.sha256_files`.
    """
    files = sorted(entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if entry.is_file())
    return sha256_files(folder, [name for name in files if name not in _NOT_SEALED], remember=remember)


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


def verify_directory(folder: Path, *, remember: bool = False) -> Manifest:
    """Compare every file of a directory artifact with its manifest, and return that.

    ``remember`` is that of :func:`~langtailor.storage.digests.sha256_files`.

    Raises:
        ArtifactError: no manifest, or a file is missing, added or changed.
    """
    manifest, digests = manifest_in(folder), file_digests(folder, remember=remember)
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
