"""Queries and documents of one language as the training reads them: ``retrieval/texts/{lang}``.

Both are tables as a corpus is, so that what embeds and tokenizes a corpus takes them, too; a third says what answers what.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from langtailor.config.queries import QuerySettings
from langtailor.corpus.cleaning import clean
from langtailor.corpus.deduplication import Deduplicator
from langtailor.corpus.document import document_hash
from langtailor.errors import SourceError
from langtailor.retrieval.pairs import Pairs, grouped
from langtailor.storage.artifacts import Manifest
from langtailor.storage.batching import batched
from langtailor.storage.tables import ANSWERS, CORPUS, write_table

_LOG = logging.getLogger("langtailor")
#: The sides of retrieval, and the files with their texts.
SIDES = ("queries", "documents")
_AT_ONCE = 2_048
_TRAINING_SPLITS = ("train", "validation")


@dataclass(frozen=True)
class _Kept:
    """What is left of some texts: their rows by split, and why the others are left out."""

    rows: Mapping[str, list[int]]
    dropped: Mapping[str, int]


def write_texts(
    pairs: Pairs, lang: str, held_out: Iterable[str], settings: QuerySettings, seed: int, out: Mapping[str, Path]
) -> None:
    """Clean queries and documents, drop texts of evaluations and repeated texts, and draw the splits.

    Args:
        pairs: as their source has them.
        lang: their language.
        held_out: texts of the evaluation tasks.
        settings: share of the validation, and what a near duplicate is.
        seed: of the splits.
        out: the files by name: ``queries`` and ``documents`` (kind ``corpus``), and ``answers``. Facts of the first two give
            ``passages`` by split and ``dropped`` by reason.

    Raises:
        SourceError: no query is left to train on.
    """
    pairs, without_query = _cleaned(pairs)
    evaluated = list(held_out)
    new = {side: _new(getattr(pairs, side), evaluated, settings) for side in SIDES}
    documents = [row for row, reason in enumerate(new["documents"]) if reason == "new"]
    split_of = {row: _split(pairs.documents[row], settings.validation, seed) for row in documents}
    answers = [[row for row in rows if row in split_of] for rows in pairs.answers]
    fresh = [row for row, reason in enumerate(new["queries"]) if reason == "new"]
    queries = [row for row in fresh if answers[row]]
    kept = {
        "documents": _Kept(
            _by_split(documents, split_of), Counter(new["documents"]) + Counter(answers_no_query=without_query)
        ),
        "queries": _Kept(
            _by_split(queries, {row: split_of[answers[row][0]] for row in queries}),
            Counter(new["queries"]) + Counter(unanswered=len(fresh) - len(queries)),
        ),
    }
    if not kept["queries"].rows["train"]:
        raise SourceError(
            f"queries of {lang}: none of {len(pairs.queries):,} is left to train on; dropped: {_reasons(kept['queries'])}"
        )
    made_by = {"lang": lang, "settings": settings.model_dump(mode="json"), "seed": seed}
    for side in SIDES:
        _write_side(out[side], lang, side, getattr(pairs, side), kept[side], made_by)
    _write_answers(out["answers"], pairs, kept, made_by)


def _cleaned(pairs: Pairs) -> tuple[Pairs, int]:
    """The same with clean texts, of which equal ones are one; blank ones are left out.

    So are documents that no query has as its answer or as a wrong one: every document is embedded and trained on, and a
    collection may have many times as many as its queries need. The second value counts them.
    """
    queries, documents = ([clean(text) for text in texts] for texts in (pairs.queries, pairs.documents))
    cleaned = grouped(
        (query, documents[answer], [documents[row] for row in pairs.negatives[number] if documents[row]])
        for number, query in enumerate(queries)
        for answer in pairs.answers[number]
        if query and documents[answer]
    )
    return cleaned, len({*documents} - {"", *cleaned.documents})


def _new(texts: Sequence[str], held_out: Sequence[str], settings: QuerySettings) -> list[str]:
    """For each text ``new``, or why it is left out."""
    deduplicator = Deduplicator(settings.near_duplicate_similarity)
    for part in batched(list(map(clean, held_out)), _AT_ONCE):
        deduplicator.judge(part)
    return [verdict for part in batched(texts, _AT_ONCE) for verdict in deduplicator.judge(part)]


def _split(document: str, validation: float, seed: int) -> str:
    return "validation" if document_hash("split", seed, document) < validation * 2**64 else "train"


def _by_split(rows: Iterable[int], split_of: Mapping[int, str]) -> dict[str, list[int]]:
    parts: dict[str, list[int]] = {split: [] for split in _TRAINING_SPLITS}
    for row in rows:
        parts[split_of[row]].append(row)
    return parts


def _write_side(
    path: Path, lang: str, side: str, texts: Sequence[str], kept: _Kept, made_by: Mapping[str, Any]
) -> None:
    rows = [(row, split) for split in _TRAINING_SPLITS for row in kept.rows[split]]
    columns = [
        [f"{side[0]}{row}" for row, _ in rows],
        [lang] * len(rows),
        [texts[row] for row, _ in rows],
        [split for _, split in rows],
        pa.nulls(len(rows), pa.string()),
    ]
    passages = {split: len(kept.rows[split]) for split in _TRAINING_SPLITS}
    dropped = {reason: count for reason, count in sorted(kept.dropped.items()) if reason != "new" and count}
    _LOG.info(
        "%s of %s: %s to train on, %s to validate on; dropped: %s",
        side,
        lang,
        *(f"{passages[split]:,}" for split in _TRAINING_SPLITS),
        _reasons(kept),
    )
    facts = {"passages": {**passages, "test": 0}, "dropped": dropped}
    write_table(path, pa.table(columns, schema=CORPUS), Manifest("corpus", {**made_by, "side": side}, facts=facts))


def _write_answers(path: Path, pairs: Pairs, kept: Mapping[str, _Kept], made_by: Mapping[str, Any]) -> None:
    """Write what answers what, by rows of the files of queries and documents."""
    queries, documents = ([row for split in _TRAINING_SPLITS for row in kept[side].rows[split]] for side in SIDES)
    place = {row: number for number, row in enumerate(documents)}

    def places(links: Sequence[Sequence[int]]) -> list[list[int]]:
        return [[place[row] for row in links[query] if row in place] for query in queries]

    columns = [[f"q{row}" for row in queries], places(pairs.answers), places(pairs.negatives)]
    write_table(path, pa.table(columns, schema=ANSWERS), Manifest("answers", made_by))


def _reasons(kept: _Kept) -> str:
    reasons = [f"{reason} {count:,}" for reason, count in sorted(kept.dropped.items()) if reason != "new" and count]
    return ", ".join(reasons) or "nothing"
