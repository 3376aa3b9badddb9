"""How many of a budget's tokens should be new: measured, not guessed.

One more graft saves tokens on target-language text; the teacher's token that leaves for it costs tokens wherever it
was used. Where the two balance is found by trying: the tokenizer of each share is built and cuts the validation text
of every language. What is made small is the mean over languages, by their weights, of the tokens spent relative to the
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
#: Shares that are tried first; then the middles on both sides of the best.
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
    """The selection whose tokenizer spends the fewest tokens on the validation text.

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
    texts = {lang: read_texts(path, "validation", _PASSAGES) for lang, path in corpora.items()}
    texts = {lang: found for lang, found in texts.items() if found}
    words = {lang: max(sum(len(text.split()) for text in found), 1) for lang, found in texts.items()}
    teacher = _spent(family.spec, texts)
    total = sum(weights[lang] for lang in texts)
    trials: dict[float, _Trial] = {}
    refused: ConfigError | None = None
    waiting = sorted({*_SHARES, fixed})
    for _ in range(1 + _REFINEMENTS):
        for share in waiting:
            try:
                selection = select(share)
            except ConfigError as error:
                refused = error
                continue
            tokens = _spent(family.write(family.layout(selection.ids, selection.grafts, 0)).tokenizer, texts)
            cost = sum(weights[lang] * tokens[lang] / teacher[lang] for lang in texts) / (total or 1)
            trials[share] = _Trial(selection, cost, tokens)
            _LOG.info("%.1f %% for grafts: %.4f of the teacher's tokens", 100 * share, cost)
        if not trials and refused is not None:
            raise refused
        waiting = _middles(trials)
    best = _best(trials)
    curve = [
        {
            "share": share,
            "grafts": len(trial.selection.grafts),
            "objective": round(trial.objective, 6),
            "fertility": {lang: round(found / words[lang], 6) for lang, found in trial.tokens.items()},
        }
        for share, trial in sorted(trials.items())
    ]
    return trials[best].selection, curve


def _best(trials: Mapping[float, _Trial]) -> float:
    return min(trials, key=lambda share: (trials[share].objective, share))


def _middles(trials: Mapping[float, _Trial]) -> list[float]:
    """The middles between the best share and its neighbours."""
    shares = sorted(trials)
    at = shares.index(_best(trials))
    around = shares[max(at - 1, 0) : at + 2]
    return [round((left + right) / 2, 4) for left, right in pairwise(around)]


def _spent(spec: Mapping[str, Any], texts: Mapping[str, list[str]]) -> dict[str, int]:
    """Tokens by language; unknown text counts a token a character, so that to forget text does not pay."""
    tokenizer, unknown = tokenizer_of(spec), unknown_id(spec)
    return {lang: sum(_cost(tokenizer, unknown, found)) for lang, found in texts.items()}


def _cost(tokenizer: Tokenizer, unknown: int | None, texts: list[str]) -> list[int]:
    found = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [len(e.ids) + sum(end - start - 1 for start, end in unknown_spans(e, unknown)) for e in found]
