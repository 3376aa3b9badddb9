"""Which teacher tokens translate a new token: word alignment over sentence pairs.

Where passages come with the text that the teacher reads for them (``teacher.reads: pair``), the two sides say what a new
token means: it stands where the teacher has certain tokens. IBM Model 1 (Brown et al. 1993,
https://aclanthology.org/J93-2003) finds these links, once in each direction, and their product keeps what both agree
on (Liang et al. 2006, https://aclanthology.org/N06-1014).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langtailor.corpus.reading import read_text_pairs
from langtailor.counts.count import encode
from langtailor.errors import ConfigError
from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.surgery.base import Ids

_LOG = logging.getLogger("langtailor")
#: Pairs of a token here and a token there that are looked at: they bound time and memory.
_CELLS = 20_000_000
_ITERATIONS = 8
#: Links of one token that are kept, and the least share of its best link that a link has.
_LINKS, _LEAST = 8, 0.05


@dataclass(frozen=True)
class Links:
    """Teacher tokens that translate new tokens.

    Attributes:
        student_ids: int32, shape (links,): new ids, ascending.
        teacher_ids: int32, shape (links,).
        probabilities: float32, shape (links,): sum to 1 over the links of a new id.
        uses: int64, shape (V,): pairs in which each new id occurs.
    """

    student_ids: Ids
    teacher_ids: Ids
    probabilities: NDArray[np.float32]
    uses: NDArray[np.int64]


def align_corpora(corpora: Mapping[str, Path], teacher: Path, tokenizer: Path, size: int, teacher_size: int) -> Links:
    """Align the train passages of all languages with their pairs.

    Args:
        corpora: ``corpus/{lang}.parquet`` by language; passages without a pair play no part.
        teacher: folder of the teacher's tokenizer, which reads the pairs.
        tokenizer: folder of the new tokenizer, which reads the passages.
        size: number of new ids.
        teacher_size: number of the teacher's ids.

    Raises:
        ArtifactError: a corpus is damaged.
        ConfigError: no passage has a pair.
    """
    pairs = list(_pairs(corpora))
    if not pairs:
        raise ConfigError(
            "initialisation.method",
            "`aligned` needs sentence pairs, and the corpus has none; give a source with pairs or take another method",
        )
    new = encode(open_tokenizer(tokenizer), [text for text, _ in pairs])
    old = encode(open_tokenizer(teacher), [pair for _, pair in pairs])
    cells = np.cumsum([len(here) * len(there) for here, there in zip(new, old, strict=True)])
    taken = int(np.searchsorted(cells, _CELLS, side="right"))
    _LOG.info("aligning %s of %s sentence pairs", f"{taken:,}", f"{len(pairs):,}")
    return align(new[:taken], old[:taken], size, teacher_size)


def align(new: Sequence[Ids], old: Sequence[Ids], size: int, teacher_size: int) -> Links:
    """Align the tokens of parallel texts.

    Args:
        new: new ids of each text, int32.
        old: teacher ids of each text's translation, int32.
        size: number of new ids.
        teacher_size: number of the teacher's ids.
    """
    uses = np.zeros(size, np.int64)
    for ids in new:
        uses[np.unique(ids)] += 1
    keys, forth = _model_one(new, old, teacher_size)
    back_keys, back = _model_one(old, new, size)
    turned = back_keys % size * teacher_size + back_keys // size
    order = np.argsort(turned)
    # Both directions have seen the same pairs of tokens, but for what one of them gave up entirely.
    both, here, there = np.intersect1d(keys, turned[order], assume_unique=True, return_indices=True)
    return _strongest(both // teacher_size, both % teacher_size, forth[here] * back[order][there], uses)


def _pairs(corpora: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Passages with their pairs; the languages take turns, so that a part of them is a part of each."""
    streams = [iter(read_text_pairs(path, "train")) for path in corpora.values()]
    while streams:
        turn = [(stream, next(stream, None)) for stream in streams]
        yield from (pair for _, pair in turn if pair is not None)
        streams = [stream for stream, pair in turn if pair is not None]


def _model_one(
    sources: Sequence[Ids], targets: Sequence[Ids], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """IBM Model 1: each token of a target comes from one token of its source, or from none (the null token).

    Args:
        sources: ids of each source.
        targets: ids of each target, below ``size``.
        size: number of target ids.

    Returns:
        ``source · size + target`` of each pair of ids that occurred together, int64, ascending, and the probability of the
        target given the source, float64. Those of the null token are left out.
    """
    spans = np.array([len(source) + 1 for source in sources], np.int64)
    lengths = np.array([len(target) for target in targets], np.int64)
    # The null token is 0, so that all others move up by one.
    lines = [np.append(source.astype(np.int64) + 1, 0) for source in sources]
    cells = [np.tile(line, len(target)) for line, target in zip(lines, targets, strict=True)]
    positions = np.repeat(spans, lengths)  # sources of each target position
    owners = np.repeat(np.arange(len(positions)), positions)
    wanted = np.concatenate([*targets, np.empty(0, np.int64)]).astype(np.int64)[owners]
    keys, kinds = np.unique(np.concatenate([*cells, np.empty(0, np.int64)]) * size + wanted, return_inverse=True)
    given = keys // size
    chance = np.ones(len(keys))
    for _ in range(_ITERATIONS):
        expected = chance[kinds]
        expected /= np.bincount(owners, expected)[owners]
        counts = np.bincount(kinds, expected, minlength=len(keys))
        chance = counts / np.bincount(given, counts)[given]
    real = given > 0
    return keys[real] - size, chance[real]


def _strongest(
    student: NDArray[np.int64], teacher: NDArray[np.int64], score: NDArray[Any], uses: NDArray[np.int64]
) -> Links:
    """The best links of each new token, as shares of their sum."""
    order = np.lexsort((teacher, -score, student))
    student, teacher, score = student[order], teacher[order], score[order]
    first = np.searchsorted(student, student)  # where each token's links begin: the best one
    kept = (np.arange(len(student)) - first < _LINKS) & (score > 0) & (score >= _LEAST * score[first])
    student, teacher, score = student[kept], teacher[kept], score[kept]
    total = np.bincount(student, score, minlength=len(uses))
    shares = (score / total[student]).astype(np.float32)
    return Links(student.astype(np.int32), teacher.astype(np.int32), shares, uses)
