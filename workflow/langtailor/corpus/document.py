"""One text of a source, and the numbers that are drawn from its id."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Document:
    """One text of a source, as the source has it.

    Attributes:
        id: stable name within the source and language; translations may share it across languages.
        text: the text.
        pair: the aligned text, where the source is parallel.
    """

    id: str
    text: str
    pair: str | None = None


def document_hash(purpose: Literal["order", "split", "short", "part"], seed: int, document_id: str) -> int:
    """A 64-bit number drawn from a document's id; numbers of different purposes are independent."""
    data = f"{seed}\0{document_id}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, person=purpose.encode()).digest(), "big")
