"""Text that would become unknown, and the tokens that prevent it.

A family without byte fallback can lose a character with its last token. Which tokens that are depends on the text;
they are found for given words by segmenting these with the teacher and with the pruned vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from langtailor.surgery.base import Family, Ids
from langtailor.surgery.word_models import encode_words, model_of, word_tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding

#: Start and end in characters.
Spans = list[tuple[int, int]]


def unknown_id(spec: Mapping[str, Any]) -> int | None:
    """Id of the unknown token; ``None`` where the model has none."""
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
        Sorted ids, none of them in ``kept``; empty for families that encode any text in bytes.
    """
    teacher_unknown = unknown_id(family.spec)
    if teacher_unknown is None:
        return np.zeros(0, np.int32)
    teacher, ids, distinct = word_tokenizer(model_of(family.spec)), kept, sorted(set(words))
    while True:
        spec = family.write(family.layout(ids, (), 0)).tokenizer
        pruned, unknown = word_tokenizer(model_of(spec)), unknown_id(spec)
        at_risk = [word for word, row in zip(distinct, encode_words(pruned, distinct), strict=True) if unknown in row]
        lost = {
            i
            for word in at_risk
            for i in lost_tokens(teacher.encode(word), unknown_spans(pruned.encode(word), unknown), teacher_unknown)
        }
        missing = {required for i in lost for required in (i, *family.requirements(i))} - set(ids.tolist())
        if not missing:
            return np.setdiff1d(ids, kept).astype(np.int32)
        ids = np.union1d(ids, sorted(missing)).astype(np.int32)


def unknown_spans(encoding: Encoding, unknown: int | None) -> Spans:
    """The span of each unknown token."""
    return [span for token_id, span in zip(encoding.ids, encoding.offsets, strict=True) if token_id == unknown]


def lost_tokens(teacher: Encoding, spans: Spans, unknown: int | None) -> list[int]:
    """Ids of the teacher's tokens that overlap with the spans, without the unknown token."""
    return [
        token_id
        for token_id, (start, end) in zip(teacher.ids, teacher.offsets, strict=True)
        if token_id != unknown and any(start < last and first < end for first, last in spans)
    ]
