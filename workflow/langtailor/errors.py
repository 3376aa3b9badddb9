"""The one exception family of langtailor.

Each message names the file or the configuration key, what was found, what is allowed and what to do.
A job prints such a message alone, without a stack trace: the user can act on it. Any other exception
is unexpected and keeps its trace.
"""

from __future__ import annotations

import errno
import shlex
from collections.abc import Iterator
from pathlib import Path

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Messages of libraries that raise other errors than ``OSError`` (Rust, shutil) or ``MemoryError`` (torch).
_NO_ROOM_MESSAGES = tuple(text for number in _NO_ROOM for text in (f"os error {number}", f"[Errno {number}]"))
_NO_MEMORY_MESSAGES = ("can't allocate memory", "CUDA out of memory")


class LangtailorError(Exception):
    """Base of every error that a user can act on."""


class ConfigError(LangtailorError):
    """A configuration value cannot be used.

    Args:
        key: dotted path of the value, for example ``vocabulary.size``.
        message: what was found, what is allowed and what to do.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"config `{key}`: {message}")
        self.key, self._message = key, message

    def about(self, section: str) -> ConfigError:
        """The same error of another section that has the same keys."""
        return ConfigError(f"{section}.{self.key.partition('.')[2]}", self._message)


class ArtifactError(LangtailorError):
    """An intermediate file is damaged, foreign or does not match its siblings.

    Args:
        path: the file or directory. Of a file inside a directory artifact, the directory is what has to be rebuilt.
        message: what is wrong with it.
    """

    def __init__(self, path: Path, message: str) -> None:
        artifact = next((folder for folder in path.parents if (folder / "manifest.json").is_file()), path)
        named = shlex.quote(str(artifact))
        super().__init__(
            f"{path}: {message}. Rebuild it with `snakemake --cores 1 --force {named}` (and your --configfile), then "
            "run snakemake again"
        )
        self.path, self.reason = path, message


class DiskFullError(LangtailorError):
    """There is no room to write.

    Args:
        path: the file or directory that was being written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: cannot be written, the disk is full (or your quota of it). Free some space and run snakemake "
            "again: what is finished stays, and nothing half-written was left"
        )
        self.path = path


class OutOfMemoryError(LangtailorError):
    """A job needs more memory than it may have.

    Args:
        rule: the job's rule.
        cause: the library's error.
    """

    def __init__(self, rule: str, cause: BaseException) -> None:
        message = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        super().__init__(
            f"out of memory ({message}). Run fewer jobs at a time (--cores), or let the cluster give the job more: "
            f"`--set-resources {rule}:mem_mb=...`, or --retries, as each further attempt requests more"
        )


class SourceError(LangtailorError):
    """A corpus source cannot be read or holds no usable text."""


class HubError(LangtailorError):
    """The model and data set hub refused a request or could not be reached."""


class UnsupportedTokenizerError(LangtailorError):
    """The teacher's tokenizer belongs to no family that can be pruned and grafted."""


class CertificateError(LangtailorError):
    """A new tokenizer broke a promise of its certificate."""


class ExportError(LangtailorError):
    """A student cannot be exported, or its export is too far from it."""


class TrainingError(LangtailorError):
    """Training cannot continue, for example because the loss is not finite."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that the disk is full."""
    return any(
        (isinstance(cause, OSError) and cause.errno in _NO_ROOM)
        or any(text in str(cause) for text in _NO_ROOM_MESSAGES)
        for cause in _causes(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that there is no memory left."""
    return any(
        isinstance(cause, MemoryError) or any(text in str(cause) for text in _NO_MEMORY_MESSAGES)
        for cause in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
