"""Text that would become unknown, and the tokens that prevent it.

A family without bytes to fall back on can lose a character with its last token. Which tokens that are depends on the
text; this finds them for given words, by segmenting them with the teacher and with what is kept of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from langtailor.surgery.base import Family, Ids
from langtailor.surgery.word_models import encode_words, model_of, word_tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding

Spans = list[tuple[int, int]]


def unknown_id(spec: Mapping[str, Any]) -> int | None:
    """Id of the token for unknown text; ``None`` where the model has none."""
    model = spec["model"]
    if "unk_id" in model:
        return int(model["unk_id"])
    token = model.get("unk_token")
    return None if token is None else model["vocab"].get(token)


def needed_to_stay_known(family: Family, kept: Ids, words: Iterable[str]) -> Ids:
    """Further teacher ids without which more of the words would be unknown than is to the teacher.

    Args:
        family: the teacher's tokenizer.
        kept: sorted teacher ids as for :meth:`~langtailor.surgery.base.Family.layout`.
        words: words as :meth:`~langtailor.surgery.base.Family.words` gives them.

    Returns:
        Sorted ids, none of them in ``kept``; empty for families that write any text in bytes.
    """
    teacher_unknown = unknown_id(family.spec)
    if teacher_unknown is None:
        return np.zeros(0, np.int32)
    teacher, known, distinct = word_tokenizer(model_of(family.spec)), kept, sorted(set(words))
    while True:
        spec = family.write(family.layout(known, (), 0)).tokenizer
        pruned, unknown = word_tokenizer(model_of(spec)), unknown_id(spec)
        hidden = [word for word, ids in zip(distinct, encode_words(pruned, distinct), strict=True) if unknown in ids]
        spans = (unknown_spans(pruned.encode(word), unknown) for word in hidden)
        pairs = zip(hidden, spans, strict=True)
        lost = {i for word, found in pairs for i in lost_tokens(teacher.encode(word), found, teacher_unknown)}
        missing = {needed for i in lost for needed in (i, *family.requirements(i))} - set(known.tolist())
        if not missing:
            return np.setdiff1d(known, kept).astype(np.int32)
        known = np.union1d(known, sorted(missing)).astype(np.int32)


def unknown_spans(found: Encoding, unknown: int | None) -> Spans:
    """Start and end, in characters, of each unknown stretch."""
    return [span for token_id, span in zip(found.ids, found.offsets, strict=True) if token_id == unknown]


def lost_tokens(teacher: Encoding, spans: Spans, unknown: int | None) -> list[int]:
    """Ids of the tokens with which the teacher writes the given stretches."""
    return [
        token_id
        for token_id, (start, end) in zip(teacher.ids, teacher.offsets, strict=True)
        if token_id != unknown and any(start < last and first < end for first, last in spans)
    ]
