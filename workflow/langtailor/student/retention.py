"""How much of the teacher's ability a student keeps, where that can be said."""

from __future__ import annotations

from langtailor.evaluation.comparison import Comparison

#: Percent of the teacher's figure beyond which the student has learned what its teacher cannot do.
_MOST = 110


def retained(row: Comparison) -> float | None:
    """Student / teacher, in percent; ``None`` where that share says nothing.

    That is where less is better, where the teacher's figure or its interval reaches down to zero, and where the student is far
    above the teacher, as one that learned a language from aligned text: there was little to retain.
    """
    share, low = row.retention, row.scores["teacher"].low
    return None if share is None or share > _MOST or (low is not None and low <= 0) else share
