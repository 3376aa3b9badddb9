"""The section ``model`` of a BPE ``tokenizer.json``: its merges and its vocabulary."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from langtailor.errors import UnsupportedTokenizerError
from langtailor.surgery.base import Layout


def parse_merges(merges: Sequence[Any]) -> list[tuple[str, str]]:
    """The pairs of ``model.merges``, which holds ``"a b"`` strings or ``["a", "b"]`` lists.

    Raises:
        UnsupportedTokenizerError: an entry is neither.
    """
    # A "#version" line heads merges that were copied from a merges.txt; the library skips it too.
    entries = [entry for entry in merges if not (isinstance(entry, str) and entry.startswith("#version"))]
    pairs: list[tuple[str, str]] = []
    for entry in entries:
        parts = entry.split(" ") if isinstance(entry, str) else entry
        if len(parts) != 2:
            raise UnsupportedTokenizerError(
                f"tokenizer.json: {entry!r} in `model.merges` is no pair of tokens. Repair the teacher's tokenizer.json"
            )
        pairs.append((parts[0], parts[1]))
    return pairs


def format_merges(pairs: Sequence[tuple[str, str]], teacher_merges: Sequence[Any]) -> list[str] | list[list[str]]:
    """The pairs as ``model.merges`` has them.

    They are strings where the teacher's merges are strings and no token contains a space, which is the separator;
    otherwise lists.
    """
    separable = not any(" " in left or " " in right for left, right in pairs)
    if teacher_merges and isinstance(teacher_merges[0], str) and separable:
        return [f"{left} {right}" for left, right in pairs]
    return [[left, right] for left, right in pairs]


def model_vocabulary(layout: Layout, outside: Collection[str]) -> dict[str, int]:
    """Id by token of the model.

    Args:
        layout: the new vocabulary.
        outside: added tokens that the teacher has outside the model. They stay outside if they come last. Otherwise
            they are put into the model, because the library numbers outside tokens from the model's size on, whatever
            the file says.
    """
    ids = [i for i, token in enumerate(layout.tokens) if token in outside]
    if ids == list(range(len(layout) - len(ids), len(layout))):
        return {token: i for i, token in enumerate(layout.tokens[: len(layout) - len(ids)])}
    return layout.new_id
