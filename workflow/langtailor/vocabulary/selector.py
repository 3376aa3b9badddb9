"""Filling a budget of tokens in the stated order."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langtailor.config.vocabulary import VocabularySettings
from langtailor.errors import ConfigError
from langtailor.surgery.base import Family, Ids, Origin
from langtailor.surgery.spelling import BYTE_TOKENS
from langtailor.surgery.unknowns import needed_to_stay_known
from langtailor.vocabulary.candidates import Candidates, Expected, Loss
from langtailor.vocabulary.selection import Kept, Selection
from langtailor.vocabulary.statistics import CorpusStatistics

_LOG = logging.getLogger("langtailor")


class Selector:
    """Fills a budget in the stated order.

    Args:
        family: the teacher's tokenizer.
        statistics: counts and words of the languages.
        settings: budget and policy.
        donor: ``tokenizer.json`` of a given donor, or ``None``.
        loss: by teacher id, what is lost without a token where only the given ids are kept; ``None`` counts all alike.
        prompt_tokens: by teacher id, a prompt that has the token.
        expected: how often tokens can be expected in other text; asked where tokens that do not occur may have to fill the
            budget.

    Raises:
        ConfigError: ``keep_tokens`` names a token that the teacher does not have.
    """

    def __init__(
        self,
        family: Family,
        statistics: CorpusStatistics,
        settings: VocabularySettings,
        donor: Mapping[str, Any] | None,
        loss: Loss | None = None,
        prompt_tokens: Mapping[int, str] | None = None,
        expected: Expected | None = None,
    ) -> None:
        self._family, self._statistics, self._settings, self._donor = family, statistics, settings, donor
        self._mandatory = self._mandatory_tokens(prompt_tokens or {})
        self._unwanted = self._matched_by_pattern()
        loss_of_closure = partial(self._loss_of_closure, loss) if loss else None
        keepable = self._keepable()
        self._candidates = Candidates.ranked(
            statistics,
            keepable,
            self.mandatory_ids,
            settings.coverage,
            loss_of_closure,
            expected if self._has_room(keepable) else None,
        )

    @property
    def mandatory_ids(self) -> Ids:
        """Ids that are kept whatever their count, sorted; without those that only the corpus requires."""
        return np.asarray(sorted(self._mandatory), dtype=np.int32)

    def select(self, share: float) -> Selection:
        """Kept tokens and grafts with ``share`` of the budget offered to grafts.

        Grafts depend on what is kept, and what is kept on how many grafts there are. Rows that the grafts leave go to
        the teacher's tokens, and the grafts are proposed anew for these, always from as many candidates. More tokens are
        kept in each round, so it ends: with a full table, or with one that neither side can fill.

        Raises:
            ConfigError: the budget cannot hold the mandatory tokens, or is larger than what there is.
        """
        size, graft = self._settings.size, self._settings.graft
        min_count = 1 if graft.tokens is not None else graft.min_count
        offered = round(share * size)
        self._check_size(offered)
        rows = size - offered
        while True:
            _LOG.info("choosing %s tokens, up to %s of them new", f"{size:,}", f"{size - rows:,}")
            kept = self._keep(rows, share)
            ids = np.asarray(sorted(kept), dtype=np.int32)
            words, donor = self._statistics.words, self._donor
            grafts = self._family.propose_grafts(ids, words, offered, min_count, donor) if offered else []
            if len(kept) < rows or len(grafts) >= size - rows:
                return Selection(kept, tuple(grafts[: size - len(kept)]), share)
            rows = size - len(grafts)

    def check_filled(self, selection: Selection) -> None:
        """Warn when there is less than the budget holds.

        Raises:
            ConfigError: the budget is larger than the teacher's vocabulary and the grafts together.
        """
        if len(selection) < self._settings.size:
            self._check_size(len(selection.grafts))
            found = (len(selection), self._settings.size, len(selection.kept), len(selection.grafts))
            _LOG.warning(
                "only %s of the %s rows of vocabulary.size are filled (%s with the teacher's tokens, %s with grafts), and "
                "the table has no more. To fill it, %s; or lower vocabulary.size.",
                *(f"{number:,}" for number in found),
                " or ".join(self._ways_to_fill(selection)),
            )

    def _ways_to_fill(self, selection: Selection) -> list[str]:
        """What keeps rows from being filled, as advice."""
        settings, graft = self._settings, self._settings.graft
        ways = []
        if settings.min_count:
            ways.append(f"lower vocabulary.min_count ({settings.min_count})")
        if settings.drop_pattern is not None:
            ways.append("drop less by vocabulary.drop_pattern")
        if len(self._statistics.alphabet.given_up):
            ways.append(f"keep more characters by vocabulary.alphabet ({settings.alphabet})")
        if len(selection.grafts) == round(selection.share * settings.size):
            return [*ways, f"raise vocabulary.graft.share ({selection.share:g})"]
        if graft.min_count > 1:
            ways.append(f"lower vocabulary.graft.min_count ({graft.min_count})")
        return [*ways, "give more text of the target languages"]

    def guaranteed_ids(self, selection: Selection) -> Ids:
        """Kept ids that are mandatory or in a language's minimum, sorted."""
        minimums = set(self._candidates.ids[self._candidates.languages >= 0].tolist())
        spare = ("corpus", "unseen", "closure")
        ids = (i for i, kept in selection.kept.items() if i in minimums or kept.origin not in spare)
        return np.asarray(sorted(ids), dtype=np.int32)

    # -- filling -------------------------------------------------------------------------------------------------------

    def _keep(self, budget: int, share: float) -> dict[int, Kept]:
        """Fill the budget; tokens without which text would become unknown come first."""
        mandatory = dict(self._mandatory)
        while True:
            if len(mandatory) > budget:
                raise self._too_small(len(mandatory), share)
            kept = self._filled(mandatory, budget)
            ids = np.asarray(sorted(kept), dtype=np.int32)
            at_risk = self._statistics.at_risk
            missing = needed_to_stay_known(self._family, ids, at_risk) if at_risk else ids[:0]
            if not len(missing):
                return kept
            for i in missing.tolist():
                mandatory[i] = Kept(i, "alphabet", "without it text of the corpus becomes unknown")

    def _filled(self, mandatory: Mapping[int, Kept], budget: int) -> dict[int, Kept]:
        kept = dict(mandatory)
        for index, token_id in enumerate(self._candidates.ids.tolist()):
            existing = kept.get(token_id)
            if existing is not None:
                if existing.origin == "closure" and token_id not in mandatory:
                    kept[token_id] = self._candidate(index)  # it would be kept without the token that requires it
                continue
            if len(kept) == budget:
                break
            required = self._family.requirements(token_id, kept)
            if len(kept) + 1 + len(required) > budget or any(self._unwanted[i] for i in required):
                continue
            kept[token_id] = self._candidate(index)
            for i in required:
                kept[i] = Kept(i, "closure", f"closure of {self._family.tokens[token_id]}")
        return kept

    def _candidate(self, index: int) -> Kept:
        origin: Origin = "corpus" if self._candidates.occurs(index) else "unseen"
        return Kept(int(self._candidates.ids[index]), origin, self._candidates.reason(index))

    def _loss_of_closure(self, loss: Loss, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The loss by id where these, the mandatory tokens and all that they require are kept."""
        kept = set(self._mandatory)
        for token_id in ids.tolist():
            kept.update((token_id, *self._family.requirements(token_id, kept)))
        return loss(np.asarray(sorted(kept), dtype=np.int32))

    # -- what must and what may be kept --------------------------------------------------------------------------------

    def _mandatory_tokens(self, prompt_tokens: Mapping[int, str]) -> dict[int, Kept]:
        mandatory: dict[int, Kept] = {}
        special = self._family.special_ids()
        for i in special[special < self._statistics.rows].tolist():
            mandatory[i] = Kept(i, "special", "special, or named by a configuration")
        for i in self._statistics.alphabet.ids.tolist():
            origin: Origin = "byte" if self._family.tokens[i] in BYTE_TOKENS else "alphabet"
            mandatory.setdefault(i, Kept(i, origin, "without it some text cannot be written"))
        for i, prompt in sorted(prompt_tokens.items()):
            mandatory.setdefault(i, Kept(i, "prompt", f"prompt {prompt!r}"))
        tokens = self._family.tokens[: self._statistics.rows]
        ids = {token: i for i, token in enumerate(tokens) if token is not None}
        for token in self._settings.keep_tokens:
            if token not in ids:
                raise ConfigError(
                    "vocabulary.keep_tokens",
                    f"the teacher has no token {token!r}; give tokens as spelled in tokenizer.json",
                )
            mandatory.setdefault(ids[token], Kept(ids[token], "corpus", "named in keep_tokens"))
        for i in list(mandatory):
            for required in self._family.requirements(i):
                mandatory.setdefault(required, Kept(required, "closure", f"closure of {self._family.tokens[i]}"))
        return mandatory

    def _keepable(self) -> NDArray[np.bool_]:
        """By id, whether its count may keep the token: high enough, no placeholder, and not given up by a setting."""
        counts, weights = self._statistics.counts, self._statistics.weights
        total = np.sum([weights[lang] * count for lang, count in counts.items()], axis=0)
        keepable = (total >= self._settings.min_count) & ~self._unwanted
        keepable[[i for i, token in enumerate(self._family.tokens) if token is None]] = False
        keepable[self._family.placeholder_ids()] = False
        keepable[self._statistics.alphabet.given_up] = False
        keepable[self._statistics.rows :] = False
        return np.asarray(keepable, dtype=np.bool_)

    def _has_room(self, keepable: NDArray[np.bool_]) -> bool:
        """Whether the budget is larger than the mandatory tokens and those that occur."""
        occurring = np.any([count > 0 for count in self._statistics.counts.values()], axis=0) & keepable
        return len(np.union1d(np.flatnonzero(occurring), self.mandatory_ids)) < self._settings.size

    def _matched_by_pattern(self) -> NDArray[np.bool_]:
        """By id, whether ``drop_pattern`` matches the token's text."""
        tokens = self._family.tokens
        if self._settings.drop_pattern is None:
            return np.zeros(len(tokens), np.bool_)
        pattern = re.compile(self._settings.drop_pattern)
        surfaces = self._family.surfaces([token or "" for token in tokens])
        return np.array([bool(surface) and pattern.search(surface or "") is not None for surface in surfaces], np.bool_)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _check_size(self, grafts: int) -> None:
        tokens = sum(token is not None for token in self._family.tokens)
        if self._settings.size > tokens + grafts:
            raise ConfigError(
                "vocabulary.size",
                f"{self._settings.size:,} is too large: the teacher has {tokens:,} tokens and vocabulary.graft "
                f"gives {grafts:,}; lower the size to {tokens + grafts:,} or less, or raise vocabulary.graft.share",
            )

    def _too_small(self, needed: int, share: float) -> ConfigError:
        size, unit = self._settings.size, self._settings.pad_to_multiple_of
        advice = "lower vocabulary.graft.share"
        if share < 1:
            least = -(-math.ceil(needed / (1 - share)) // unit) * unit
            while least - round(share * least) < needed:
                least += unit
            advice = f"the smallest size that holds them is {least:,}"
        return ConfigError(
            "vocabulary.size",
            f"{size:,} with a share of {share:g} for grafts leaves {size - round(share * size):,} rows, but special tokens, "
            f"alphabet and keep_tokens need {needed:,}; {advice}",
        )
