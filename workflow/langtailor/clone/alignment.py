"""Which teacher tokens translate a new token: word alignment over sentence pairs.

Where passages come with the text that the teacher reads for them (``teacher.reads: pair``), the two sides give the
meaning of a new token: it translates certain tokens of the teacher. IBM Model 1 (Brown et al. 1993,
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
#: Pairs of a token and a token of its translation that are read, which bounds time and memory.
_TOKEN_PAIRS = 20_000_000
_ITERATIONS = 8
#: The most links of one token that are kept, and the least probability of a link relative to the token's best one.
_LINKS, _LEAST = 8, 0.05


@dataclass(frozen=True)
class Links:
    """Teacher tokens that translate new tokens.

    Attributes:
        student_ids: int32, shape (links,): new ids, ascending.
        teacher_ids: int32, shape (links,).
        probabilities: float32, shape (links,): sum to 1 over the links of a new id.
        pair_counts: int64, shape (V,): sentence pairs in which each new id occurs.
    """

    student_ids: Ids
    teacher_ids: Ids
    probabilities: NDArray[np.float32]
    pair_counts: NDArray[np.int64]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """How far the links of each new id are trusted: n / (n + 1) for the n pairs in which it occurs; shape (V,)."""
        return np.asarray(self.pair_counts / (self.pair_counts + 1), np.float64)


def align_corpora(
    corpora: Mapping[str, Path], teacher: Path, tokenizer: Path, size: int, teacher_size: int, *, required: bool
) -> Links | None:
    """Align the train passages of all languages with their pairs.

    Args:
        corpora: ``corpus/{lang}.parquet`` by language; passages without a pair are skipped.
        teacher: folder of the teacher's tokenizer, which encodes the pairs.
        tokenizer: folder of the new tokenizer, which encodes the passages.
        size: number of new ids.
        teacher_size: number of the teacher's ids.
        required: whether there must be pairs.

    Returns:
        ``None`` where no passage has a pair.

    Raises:
        ArtifactError: a corpus is damaged.
        ConfigError: no passage has a pair, and they are required.
    """
    pairs = list(_pairs(corpora))
    if not pairs and not required:
        return None
    if not pairs:
        raise ConfigError(
            "initialisation.method",
            "`aligned` needs sentence pairs, and the corpus has none; give a source with pairs or use another method",
        )
    new = encode(open_tokenizer(tokenizer), [text for text, _ in pairs])
    old = encode(open_tokenizer(teacher), [pair for _, pair in pairs])
    token_pairs = np.cumsum([len(ids) * len(old_ids) for ids, old_ids in zip(new, old, strict=True)])
    fitting = int(np.searchsorted(token_pairs, _TOKEN_PAIRS, side="right"))
    _LOG.info("aligning %s of %s sentence pairs", f"{fitting:,}", f"{len(pairs):,}")
    return align(new[:fitting], old[:fitting], size, teacher_size)


def align(new: Sequence[Ids], old: Sequence[Ids], size: int, teacher_size: int) -> Links:
    """Align the tokens of parallel texts.

    Args:
        new: new ids of each text, int32.
        old: teacher ids of each text's translation, int32.
        size: number of new ids.
        teacher_size: number of the teacher's ids.
    """
    pair_counts = np.zeros(size, np.int64)
    for ids in new:
        pair_counts[np.unique(ids)] += 1
    keys, forward = _model_one(new, old, teacher_size)
    backward_keys, backward = _model_one(old, new, size)
    transposed = backward_keys % size * teacher_size + backward_keys // size
    order = np.argsort(transposed)
    # Both directions have the same pairs of tokens, except those whose probability became zero in one of them.
    both, at, backward_at = np.intersect1d(keys, transposed[order], assume_unique=True, return_indices=True)
    score = forward[at] * backward[order][backward_at]
    return _strongest(both // teacher_size, both % teacher_size, score, pair_counts)


def _pairs(corpora: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Passages with their pairs; languages are interleaved, so that the first pairs are of all of them."""
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
        ``source · size + target`` of each pair of ids that occur together, int64, ascending, and the probability of the
        target given the source, float64. Those of the null token are left out.
    """
    source_lengths = np.array([len(source) + 1 for source in sources], np.int64)
    target_lengths = np.array([len(target) for target in targets], np.int64)
    # The null token is 0, so all others move up by one.
    with_null = [np.append(source.astype(np.int64) + 1, 0) for source in sources]
    source_ids = [np.tile(source, len(target)) for source, target in zip(with_null, targets, strict=True)]
    # One entry for each pair of a target position and a source position.
    sources_of_position = np.repeat(source_lengths, target_lengths)
    position = np.repeat(np.arange(len(sources_of_position)), sources_of_position)
    target_ids = np.concatenate([*targets, np.empty(0, np.int64)]).astype(np.int64)[position]
    entry_keys = np.concatenate([*source_ids, np.empty(0, np.int64)]) * size + target_ids
    keys, key_of_entry = np.unique(entry_keys, return_inverse=True)
    source_of_key = keys // size
    probability = np.ones(len(keys))
    for _ in range(_ITERATIONS):
        expected = probability[key_of_entry]
        expected /= np.bincount(position, expected)[position]
        counts = np.bincount(key_of_entry, expected, minlength=len(keys))
        probability = counts / np.bincount(source_of_key, counts)[source_of_key]
    not_null = source_of_key > 0
    return keys[not_null] - size, probability[not_null]


def _strongest(
    student: NDArray[np.int64], teacher: NDArray[np.int64], score: NDArray[Any], pair_counts: NDArray[np.int64]
) -> Links:
    """The best links of each new token, normalised to a sum of 1."""
    order = np.lexsort((teacher, -score, student))
    student, teacher, score = student[order], teacher[order], score[order]
    first = np.searchsorted(student, student)  # index of each token's best link
    kept = (np.arange(len(student)) - first < _LINKS) & (score > 0) & (score >= _LEAST * score[first])
    student, teacher, score = student[kept], teacher[kept], score[kept]
    total = np.bincount(student, score, minlength=len(pair_counts))
    probabilities = (score / total[student]).astype(np.float32)
    return Links(student.astype(np.int32), teacher.astype(np.int32), probabilities, pair_counts)
