"""Text files as lines or pieces, decompressed, decoded and bounded.

Lines end with a line feed, a carriage return or both. No record is longer than 100 MB: a longer one means the wrong
file, and reading it would use up the memory.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from langtailor.corpus.compression import DAMAGE, open_stream
from langtailor.errors import SourceError

CHUNK_BYTES = 1 << 20
#: Longest record.
MOST_BYTES = 100_000_000
_ENDS = (b"\n", b"\r")


def read_lines(path: Path, *, keep_ends: bool = False) -> Iterator[str]:
    """Lines of a text file. A byte order mark at its start is left out.

    Raises:
        SourceError: the file cannot be read, a line is not UTF-8 or longer than 100 MB.
    """
    for number, line in enumerate(_byte_lines(path), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{path}, line {number}: is not UTF-8 (byte {error.start + 1} of the line: {error.reason}). "
                "Convert the file to UTF-8."
            ) from error
        yield text if keep_ends else text.rstrip("\r\n")


def _byte_lines(path: Path) -> Iterator[bytes]:
    """Lines with their ends."""
    pieces: list[bytes] = []  # of a line whose end is still to come
    number = 0
    with explained(path), open_stream(path) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            while chunk.endswith(b"\r") and (following := stream.read(1)):  # a line feed may belong to it
                chunk += following
            first, *others = chunk.splitlines(keepends=True)
            pieces.append(first)
            if first.endswith(_ENDS):
                last = [others.pop()] if others and not others[-1].endswith(_ENDS) else []
                number += 1 + len(others)
                yield b"".join(pieces)
                yield from others
                pieces = last
            if sum(map(len, pieces)) > MOST_BYTES:
                raise too_long(f"{path}, line {number + 1}")
        if pieces:
            yield b"".join(pieces)


def read_chunks(path: Path) -> Iterator[str]:
    """The text of a file in pieces of any length. A byte order mark at its start is left out.

    Raises:
        SourceError: the file cannot be read or is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with explained(path), open_stream(path) as stream:
        while True:
            chunk = stream.read(CHUNK_BYTES)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise SourceError(f"{path}: is not UTF-8 ({error.reason}). Convert the file to UTF-8.") from error
            if text:
                yield text
            if not chunk:
                return


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what reading a file can raise into an error that names the file."""
    try:
        yield
    except (OSError, *DAMAGE, pa.ArrowException) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def too_long(place: str) -> SourceError:
    """The error for a record that is longer than any document."""
    return SourceError(f"{place}: is longer than {MOST_BYTES // 1_000_000} MB, which no document is; split it")
