"""A JSON file that holds one array, value by value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langtailor.corpus.text_file import CHUNK_BYTES, MOST_BYTES, read_chunks, too_long
from langtailor.errors import SourceError

_SPACE = re.compile(r"[ \t\r\n]*")
#: A value may be cut within this many characters of the end of what was read: an escape, a literal.
_LONGEST_ESCAPE = 12


class JsonArray:
    """The values of the array, one after the other, with little more than one of them in memory.

    Args:
        path: the file.

    Attributes:
        is_array: whether the file holds an array at all.

    Raises:
        SourceError: while it is read: names the value that is not JSON or too long.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chunks = read_chunks(path)
        self._text, self._at = "", 0
        self._number = 0
        self.is_array = self._next_character() == "["

    def __iter__(self) -> Iterator[Any]:
        self._at += 1
        if self._next_character() != "]":
            yield self._value()
            while self._next_character() == ",":
                self._at += 1
                self._next_character()
                yield self._value()
        if self._next_character() != "]":
            raise self._no_json("',' or ']' is missing behind it")
        self._at += 1
        if self._next_character():
            raise SourceError(f"{self._path}: is not JSON: something follows the array")

    def _value(self) -> Any:
        self._number += 1
        wanted = CHUNK_BYTES
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self._no_json(str(error)) from error
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _LONGEST_ESCAPE
                if not (cut and self._read(wanted)):
                    raise self._no_json(error.msg) from error
                wanted *= 2
                if len(self._text) > MOST_BYTES:
                    raise too_long(f"{self._path}, record {self._number}") from error
                continue
            self._at = end
            return value

    def _next_character(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read(1):
                return ""

    def _read(self, characters: int) -> bool:
        """Read this many more characters, and discard those that were used; false at the end of the file."""
        parts = [self._text[self._at :]]
        while characters > 0 and (chunk := next(self._chunks, "")):
            parts.append(chunk)
            characters -= len(chunk)
        self._text, self._at = "".join(parts), 0
        return len(parts) > 1

    def _no_json(self, reason: str) -> SourceError:
        return SourceError(f"{self._path}, record {self._number}: is not JSON ({reason})")
