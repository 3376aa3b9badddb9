"""SHA-256 of buffers and files; a file that stays as it is is read once, in a process and, where it is large, in a run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

from langtailor.errors import DiskFullError
from langtailor.storage.atomic import atomic_file

_CHUNK_BYTES = 1 << 20
#: Nanoseconds between two changes of a file that may leave it with the same time: some file systems count in two seconds.
_COARSEST_TIME = 2 * 10**9
#: Bytes that take so long to hash that the next process should not do it again.
_WORTH_REMEMBERING = 1 << 26


class FileState(NamedTuple):
    """What tells one content of a file from another without reading it.

    Every change moves the time of the last change (``ctime``), which programs cannot set.
    """

    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """The state of a file, times in nanoseconds."""
        stat = path.stat()
        return cls(stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    @property
    def is_settled(self) -> bool:
        """Whether any further change would show.

        Only a file that changed a moment ago could change again within one tick of the file system's clock; its digest is
        not remembered, as in git's index (https://git-scm.com/docs/racy-git).
        """
        return time.time_ns() - max(self.modified, self.changed) >= _COARSEST_TIME


def sha256_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of a buffer as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits.

    A job hashes its inputs before it starts, and names them by their digests in what it makes. So a process remembers a
    digest for as long as the file stays as it is.
    """
    state = FileState.of(path)
    return _remembered_digest(path, state) if state.is_settled else _hash_file(path)


def sha256_files(folder: Path, names: Iterable[str], *, remember: bool = False) -> dict[str, str]:
    """SHA-256 of files below a folder by their names.

    Args:
        folder: the folder.
        names: paths relative to it.
        remember: keep the digests of a large folder, with the states of its files, in a hidden file beside it, so that of
            all jobs that read a model only the first one hashes it.
    """
    states = {name: FileState.of(folder / name) for name in names}
    known = _known_digests(folder)
    new = {name for name, state in states.items() if known.get(name, ("", None))[1] != state}
    digests = {name: sha256_file(folder / name) if name in new else known[name][0] for name in states}
    if remember and sum(states[name].size for name in new) >= _WORTH_REMEMBERING:
        _keep(folder, {name: (digests[name], state) for name, state in states.items() if state.is_settled})
    return digests


@lru_cache(maxsize=4_096)
def _remembered_digest(path: Path, _: FileState) -> str:
    return _hash_file(path)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _digest_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.digests")


def _known_digests(folder: Path) -> dict[str, tuple[str, FileState]]:
    """Digests that an earlier process has found, with the states of the files at that time; none where they are unreadable."""
    try:
        known = json.loads(_digest_file(folder).read_text(encoding="utf-8"))
        return {name: (digest, FileState(*state)) for name, (digest, state) in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(folder: Path, digests: Mapping[str, tuple[str, FileState]]) -> None:
    """Keep digests for the next process, if the place can be written: they save time and nothing else."""
    if ".snakemake" in folder.parts:  # where copies of remote storage come and go
        return
    try:
        with atomic_file(_digest_file(folder)) as temporary:
            temporary.write_text(json.dumps(digests), encoding="utf-8")
    except (OSError, DiskFullError):
        return
