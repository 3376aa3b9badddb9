"""Files and folders that appear under their names only once they are complete.

They are written to a temporary name next to their place, flushed to disk and renamed. What a killed job left is removed
by the next attempt.
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from langtailor.errors import DiskFullError, LangtailorError, is_disk_full

_UNFINISHED = ".part"
#: Pattern of what `tempfile` puts into a name.
_RANDOM = "?" * 8


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
            match_umask(temporary)
            fsync_path(temporary)
            temporary.replace(path)
            fsync_path(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder next to ``path``, for intermediate files; it is removed with the context."""
    with directory_beside(path, "scratch.") as temporary:
        yield temporary


@contextmanager
def directory_beside(path: Path, what: str = "") -> Iterator[Path]:
    """Yield an empty temporary folder next to ``path``, which is removed with the context unless it was renamed."""
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
    """Make the folder of ``path``, remove what a killed job left there, and name ``path`` if the disk is full."""
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


def fsync_path(path: Path) -> None:
    """Flush a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def umask() -> int:
    """The process's umask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def match_umask(path: Path) -> None:
    """Give a temporary file the rights that a new file would have."""
    path.chmod(0o666 & ~umask())
