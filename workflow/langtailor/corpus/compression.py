"""Compressed files, by their suffix: opened as streams of bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

#: First bytes of a file of each kind (https://www.rfc-editor.org/rfc/rfc1952, https://sourceware.org/bzip2,
#: https://tukaani.org/xz/xz-file-format.txt, https://www.rfc-editor.org/rfc/rfc8878).
_MAGIC = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\0", ".zst": b"\x28\xb5\x2f\xfd"}
COMPRESSIONS = tuple(_MAGIC)
#: What a damaged archive raises while it is read.
DAMAGE = (EOFError, zlib.error, lzma.LZMAError)


def compression_of(path: Path) -> str:
    """The suffix of a compressed file, in lower case; empty for any other."""
    suffix = path.suffix.lower()
    return suffix if suffix in _MAGIC else ""


def is_what_its_suffix_says(path: Path) -> bool:
    """Whether a file is not compressed by its name, or begins like an archive of its suffix."""
    magic = _MAGIC.get(compression_of(path), b"")
    with path.open("rb") as stream:
        return stream.read(len(magic)) == magic


@contextmanager
def open_stream(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, decompressed as its suffix says.

    Raises:
        OSError: as all of :data:`DAMAGE`, while it is read: the file is missing or damaged.
    """
    openers: dict[str, Any] = {"": Path.open, ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _open_zstd}
    with openers[compression_of(path)](path, "rb") as stream:
        yield stream


def _open_zstd(path: Path, _: str) -> Any:
    return pa.input_stream(str(path), compression="zstd")
