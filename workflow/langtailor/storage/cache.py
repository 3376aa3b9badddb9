"""Parts of an artifact that are kept for the next time its job runs, in folders that no rule declares."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from langtailor.storage.artifacts import canonical_json

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class CacheEntry:
    """The place of one part, whose name holds a digest of what made it.

    Attributes:
        path: the entry.
        others: pattern of the entries of the same part made by something else.
    """

    path: Path
    others: str

    @classmethod
    def of(cls, part: Path, made_from: Any) -> Self:
        """The entry of a part.

        Args:
            part: its name in the cache, with its suffix.
            made_from: all that its bytes depend on, JSON-ready.
        """
        key = hashlib.blake2b(canonical_json(made_from).encode(), digest_size=_DIGEST_BYTES).hexdigest()
        return cls(part.with_name(f"{part.stem}.{key}{part.suffix}"), f"{part.stem}.*{part.suffix}")

    def make_room(self) -> None:
        """Make the folder, without the entry's predecessors."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for other in self.path.parent.glob(self.others):
            other.unlink()
