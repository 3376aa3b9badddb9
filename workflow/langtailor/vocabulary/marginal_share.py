"""How many of a budget's tokens should be new, found by measuring.

One more graft saves tokens on target-language text; the teacher's token that it displaces costs tokens wherever it
occurs. Where the two balance is found by trying: the tokenizer of each share is built and tokenizes the validation text
of every language. The objective is the weighted mean over the languages of the number of tokens relative to the
teacher's (marginal fertility).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from langtailor.corpus.reading import read_texts
from langtailor.errors import ConfigError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.base import Family
from langtailor.surgery.unknowns import unknown_id, unknown_spans

if TYPE_CHECKING:
    from langtailor.vocabulary.selection import Selection

_LOG = logging.getLogger("langtailor")
#: Shares that are tried first; then the midpoints on both sides of the best.
_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
_REFINEMENTS = 2
#: Validation passages per language that are measured. They come in the order of a hash, so the first are a sample.
_PASSAGES = 500


@dataclass(frozen=True)
class _Trial:
    selection: Selection
    objective: float
    tokens: Mapping[str, int]


def choose_share(
    family: Family,
    select: Callable[[float], Selection],
    corpora: Mapping[str, Path],
    weights: Mapping[str, float],
    fixed: float,
) -> tuple[Selection, list[dict[str, Any]]]:
    """The selection whose tokenizer needs the fewest tokens for the validation text.

    Args:
        family: the teacher's tokenizer.
        select: gives the selection with a share of the budget offered to grafts.
        corpora: ``corpus/{lang}.parquet`` by language.
        weights: weight of each language.
        fixed: a share that is tried in any case, for comparison.

    Returns:
        The selection, and the curve for the report: for each share tried, in order, the share, the number of grafts,
        the objective (tokens relative to the teacher's) and tokens per white-space-separated word by language.

    Raises:
        ConfigError: no share gives a vocabulary.
    """
    samples = {lang: read_texts(path, "validation", _PASSAGES) for lang, path in corpora.items()}
    texts = {lang: sample for lang, sample in samples.items() if sample}
    teacher = _token_counts(family.spec, texts)
    total = sum(weights[lang] for lang in texts)
    trials: dict[float, _Trial] = {}
    refusal: ConfigError | None = None
    shares = sorted({*_SHARES, fixed})
    for _ in range(1 + _REFINEMENTS):
        for share in shares:
            try:
                selection = select(share)
            except ConfigError as error:
                refusal = error
                continue
            tokens = _token_counts(family.write(family.layout(selection.ids, selection.grafts, 0)).tokenizer, texts)
            objective = sum(weights[lang] * tokens[lang] / teacher[lang] for lang in texts) / (total or 1)
            trials[share] = _Trial(selection, objective, tokens)
            _LOG.info("%.1f %% for grafts: %.4f of the teacher's tokens", 100 * share, objective)
        if not trials and refusal is not None:
            raise refusal
        shares = _midpoints(trials)
    return trials[_best(trials)].selection, _curve(trials, texts)


def _curve(trials: Mapping[float, _Trial], texts: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    words = {lang: max(sum(len(text.split()) for text in sample), 1) for lang, sample in texts.items()}
    return [
        {
            "share": share,
            "grafts": len(trial.selection.grafts),
            "objective": round(trial.objective, 6),
            "fertility": {lang: round(tokens / words[lang], 6) for lang, tokens in trial.tokens.items()},
        }
        for share, trial in sorted(trials.items())
    ]


def _best(trials: Mapping[float, _Trial]) -> float:
    return min(trials, key=lambda share: (trials[share].objective, share))


def _midpoints(trials: Mapping[float, _Trial]) -> list[float]:
    """The midpoints between the best share and its neighbours."""
    shares = sorted(trials)
    at = shares.index(_best(trials))
    around = shares[max(at - 1, 0) : at + 2]
    return [round((left + right) / 2, 4) for left, right in pairwise(around)]


def _token_counts(spec: Mapping[str, Any], texts: Mapping[str, list[str]]) -> dict[str, int]:
    """Tokens by language. Unknown text counts one token for each character, so that losing text does not pay."""
    tokenizer, unknown = tokenizer_of(spec), unknown_id(spec)
    return {lang: sum(_lengths(tokenizer, unknown, sample)) for lang, sample in texts.items()}


def _lengths(tokenizer: Tokenizer, unknown: int | None, texts: list[str]) -> list[int]:
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [len(e.ids) + sum(end - start - 1 for start, end in unknown_spans(e, unknown)) for e in encodings]
