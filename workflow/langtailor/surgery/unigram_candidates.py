"""Candidates for new Unigram pieces, and their scores on the teacher's scale.

Scores are log-probabilities. Those of new pieces come from the target text alone, so they have to be brought to the
teacher's scale. Had the teacher been trained with target text in a share w, a piece that occurs in this text only would
have the score ``log w`` + its score here; one that occurs in other text too would have more. So ``log w`` is estimated
from the pieces that both have, as the lowest decile of the differences, and added to every new score. Ratios among new
pieces, on which the choice between them rests, stay as they were trained. (Mean difference and linear regression, which
give new pieces more, were tried: the target text got no shorter, and a tenth more of the other languages' passages
changed their segmentation.) A new score is never below the teacher's lowest, which would change the score of unknown
characters.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from langtailor.surgery.donor_tokens import donor_counts
from langtailor.surgery.lexicon import SEPARATOR
from langtailor.surgery.sentencepiece_model import Kind, read_pieces

#: SentencePiece splits its work, and its sums, by this number, so it is part of the result and not of the machine.
_TRAINER_THREADS = 2
#: Candidates trained for each graft wanted: many are tokens of the teacher or lose their occurrences to others.
_SURPLUS = 2
#: Share of the common pieces that are taken to occur in target text only.
_ONLY_TARGET = 0.1
_LONGEST_LINE = 4_000  # bytes; SentencePiece skips longer ones
_LINE_BREAKS = (SEPARATOR, "\t", "\n", "\r")


def trainable(words: Mapping[str, int]) -> dict[str, int]:
    """The words that fit into one line of the trainer and the lexicon."""
    return {word: count for word, count in words.items() if not any(c in word for c in _LINE_BREAKS)}


def trained_pieces(words: Mapping[str, int], limit: int, mark: str) -> dict[str, float]:
    """Pieces with their log-probabilities, trained on the words by SentencePiece.

    Args:
        words: words with their counts.
        limit: number of grafts wanted.
        mark: the teacher's space mark.
    """
    from sentencepiece import SentencePieceTrainer

    lines = [f"{word}\t{count}" for word, count in words.items() if 0 < len(word.encode()) < _LONGEST_LINE]
    if not lines:
        return {}
    characters = len(set().union(*words))
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        input_format="tsv",
        model_type="unigram",
        vocab_size=characters + 1 + _SURPLUS * limit,
        hard_vocab_limit=False,
        character_coverage=1.0,
        # The words have been normalised and marked already.
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        bos_id=-1,
        eos_id=-1,
        num_threads=_TRAINER_THREADS,
        minloglevel=2,
    )
    pieces = read_pieces(model.getvalue())
    return {piece.text.replace("▁", mark): piece.score for piece in pieces if piece.kind is Kind.NORMAL}


def donor_pieces(donor: Mapping[str, Any], words: Mapping[str, int], mark: str) -> dict[str, float]:
    """The donor's tokens in Unigram's spelling, with the logarithm of their relative frequency on the words.

    Args:
        donor: content of the donor's ``tokenizer.json``.
        words: words with their counts.
        mark: the teacher's space mark.
    """
    counts = donor_counts(donor, {word.replace(mark, " "): count for word, count in words.items()})
    total = sum(counts.values())
    positive = sorted((text, count) for text, count in counts.items() if text and count)
    return {text.replace(" ", mark): float(np.log(count / total)) for text, count in positive}


def on_teachers_scale(
    scores: Mapping[str, float], teacher: Mapping[str, float], common: Iterable[str]
) -> dict[str, float]:
    """New scores, shifted by the share that the target text seems to have had in the teacher's training.

    Args:
        scores: score of each candidate.
        teacher: score of each of the teacher's tokens.
        common: tokens that have both.
    """
    lowest = min(teacher.values())
    differences = [teacher[token] - scores[token] for token in common]
    # No share exceeds the whole, whose logarithm is 0.
    shift = min(0.0, float(np.quantile(differences, _ONLY_TARGET))) if differences else 0.0
    # SentencePiece stores float32; with the same numbers both libraries choose alike.
    return {token: float(np.float32(max(score + shift, lowest))) for token, score in scores.items()}
