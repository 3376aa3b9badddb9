"""A chosen vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from langtailor.surgery.base import Graft, Ids, Origin


class Kept(NamedTuple):
    """A teacher token that the student keeps."""

    token_id: int
    origin: Origin
    reason: str


@dataclass(frozen=True)
class Selection:
    """The student's tokens.

    Attributes:
        kept: teacher tokens by id.
        grafts: new tokens, best first.
        share: share of the budget that was offered to grafts.
    """

    kept: Mapping[int, Kept]
    grafts: tuple[Graft, ...]
    share: float

    def __len__(self) -> int:
        return len(self.kept) + len(self.grafts)

    @property
    def ids(self) -> Ids:
        """Ids of the kept teacher tokens, sorted."""
        return np.asarray(sorted(self.kept), dtype=np.int32)
