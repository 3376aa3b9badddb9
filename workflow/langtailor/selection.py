"""Which tokens the student has, and why.

The budget is filled in a stated order: special tokens; the alphabet, the user's own ``keep_tokens`` and what the corpus
cannot be written without; per-language floors; the rest by weighted frequency or by expected loss; grafts for the target
languages. A token brings what it needs to be reachable (for BPE, the intermediates of its derivation), and that counts
against the budget.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from langtailor import tables
from langtailor.artifacts import Manifest, sha256_file
from langtailor.config import VocabularySettings
from langtailor.demand import Demand, Uses, read_demand
from langtailor.errors import ConfigError
from langtailor.marginal import choose_share
from langtailor.surgery.base import Family, Graft, Ids, Layout, Origin
from langtailor.surgery.layout_table import layout_to_table
from langtailor.surgery.registry import load_family
from langtailor.surgery.segmentation import segment
from langtailor.surgery.spelling import BYTE_TOKENS
from langtailor.surgery.unknowns import needed_to_stay_known

_LOG = logging.getLogger("langtailor")
#: Rounds in which budget that grafts leave goes back to the teacher's tokens.
_ROUNDS = 4
#: What a token that others replace without loss still counts, so that it comes before tokens that nothing uses.
_LEAST_LOSS = 1e-9
#: Tokens that are ranked on top of the same others, as a share of these, and at least so many.
_TURN, _LEAST_TURN = 0.25, 64
#: By teacher id, what is lost without a token where only the given teacher ids are kept.
Loss = Callable[[NDArray[Any]], NDArray[np.float64]]


class Kept(NamedTuple):
    """A teacher token that the student keeps."""

    token_id: int
    origin: Origin
    reason: str


@dataclass(frozen=True)
class Selection:
    """The student's tokens.

    Attributes:
        kept: teacher tokens by id.
        grafts: new tokens, best first.
        share: share of the budget that was offered to grafts.
    """

    kept: Mapping[int, Kept]
    grafts: tuple[Graft, ...]
    share: float

    def __len__(self) -> int:
        return len(self.kept) + len(self.grafts)

    @property
    def ids(self) -> Ids:
        """Ids of the kept teacher tokens, sorted."""
        return np.asarray(sorted(self.kept), dtype=np.int32)


def select_vocabulary(
    teacher: Path,
    counts: Mapping[str, Path],
    corpora: Mapping[str, Path],
    donor: Mapping[str, Any] | None,
    settings: VocabularySettings,
    weights: Mapping[str, float],
    targets: Sequence[str],
    out: Path,
) -> None:
    """Choose the tokens of one variant and write ``vocabulary/{variant}.parquet``.

    Args:
        teacher: the teacher's folder.
        counts: ``counts/{lang}.parquet`` by language.
        corpora: ``corpus/{lang}.parquet`` by language.
        donor: ``tokenizer.json`` of a given donor; ``None`` trains the grafts.
        settings: budget and policy.
        weights: weight of each language's counts.
        targets: languages for which tokens are grafted.
        out: the table's file.

    Raises:
        ConfigError: the budget cannot hold the mandatory tokens, is larger than what there is, or a token that shall be
            kept is unknown.
        ArtifactError: counts or corpora are damaged.
    """
    family = load_family(teacher)
    whole = settings.alphabet == "full"
    demand = read_demand(family, teacher, counts, corpora, weights, targets, whole_alphabet=whole)
    selector = Selector(family, demand, settings, donor, _loss(family, teacher) if settings.ranking == "loss" else None)
    curve: list[dict[str, Any]] = []
    if settings.graft.policy == "marginal":
        selection, curve = choose_share(family, selector.select, corpora, weights, settings.graft.share)
    else:
        selection = selector.select(settings.graft.share)
    selector.check_filled(selection)
    layout = family.layout(selection.ids, selection.grafts, -len(selection) % settings.pad_to_multiple_of)
    facts = _facts(family, selection, selector.floor_ids(selection), layout, demand.uses) | {"marginal_curve": curve}
    manifest = Manifest(
        "vocabulary",
        made_by=settings.model_dump(mode="json") | {"weights": dict(weights), "targets": list(targets)},
        inputs={
            "tokenizer": sha256_file(teacher / "tokenizer.json"),
            "counts": {lang: sha256_file(path) for lang, path in counts.items()},
            "corpora": {lang: sha256_file(path) for lang, path in corpora.items()},
        },
        facts=facts,
    )
    tables.write_table(out, _table(family, layout, selection, demand.uses), manifest)
    _LOG.info("vocabulary of %s: %s", f"{len(layout):,}", ", ".join(f"{o} {n:,}" for o, n in facts["origins"].items()))


def _loss(family: Family, teacher: Path) -> Loss:
    from langtailor.embeddings import find_vocabulary_tensors
    from langtailor.substitution import substitution_loss

    return partial(substitution_loss, family, find_vocabulary_tensors(teacher).read_embeddings())


class Selector:
    """Fills a budget by the stated policy.

    Args:
        family: the teacher's tokenizer.
        demand: what the kept languages ask for.
        settings: budget and policy.
        donor: ``tokenizer.json`` of a given donor, or ``None``.
        loss: by teacher id, what is lost without a token where only the given ids are kept; ``None`` counts all alike.

    Raises:
        ConfigError: a token that shall be kept is unknown.
    """

    def __init__(
        self,
        family: Family,
        demand: Demand,
        settings: VocabularySettings,
        donor: Mapping[str, Any] | None,
        loss: Loss | None = None,
    ) -> None:
        self._family, self._demand, self._settings, self._donor = family, demand, settings, donor
        self._mandatory = self._mandatory_tokens()
        self._unwanted = self._matched_by_pattern()
        closed = partial(self._with_what_they_need, loss) if loss else None
        self._candidates = _Candidates.ranked(demand, self._keepable(), self.mandatory_ids, settings.coverage, closed)

    @property
    def mandatory_ids(self) -> Ids:
        """Ids that are kept whatever their use, sorted; what only the corpus makes necessary is not among them."""
        return np.asarray(sorted(self._mandatory), dtype=np.int32)

    def select(self, share: float) -> Selection:
        """Kept tokens and grafts with ``share`` of the budget offered to grafts.

        Grafts depend on what is kept, and what is kept on how much the grafts leave. So budget that the grafts do not
        use goes back to the teacher's tokens and the grafts are proposed anew, until nothing is left over or to give.

        Raises:
            ConfigError: the budget cannot hold the mandatory tokens, or is larger than what there is.
        """
        size, min_count = self._settings.size, self._settings.graft.min_count
        offered = round(share * size)
        self._check_size(offered)
        for _ in range(_ROUNDS):
            kept = self._keep(size - offered, share)
            grafts: list[Graft] = []
            if offered:
                ids = np.asarray(sorted(kept), dtype=np.int32)
                grafts = self._family.propose_grafts(ids, self._demand.words, offered, min_count, self._donor)
            if len(grafts) >= offered or len(kept) < size - offered:
                break
            offered = len(grafts)
        return Selection(kept, tuple(grafts), share)

    def check_filled(self, selection: Selection) -> None:
        """Warn when there is less than the budget holds.

        Raises:
            ConfigError: the budget is larger than the teacher's vocabulary and the grafts together.
        """
        if len(selection) < self._settings.size:
            self._check_size(len(selection.grafts))
            _LOG.warning(
                "only %s of the %s rows of vocabulary.size are filled (%s with the teacher's tokens, %s with grafts), and "
                "the table has no more. Lower the size or vocabulary.min_count, or give more text.",
                *(f"{n:,}" for n in (len(selection), self._settings.size, len(selection.kept), len(selection.grafts))),
            )

    def floor_ids(self, selection: Selection) -> Ids:
        """Ids that were kept before frequency alone decided."""
        floor = set(self._candidates.ids[self._candidates.languages >= 0].tolist())
        kept = (i for i, found in selection.kept.items() if i in floor or found.origin not in ("corpus", "closure"))
        return np.asarray(sorted(kept), dtype=np.int32)

    # -- filling -------------------------------------------------------------------------------------------------------

    def _keep(self, budget: int, share: float) -> dict[int, Kept]:
        """Fill the budget; where text would become unknown, with the tokens that prevent it first."""
        mandatory = dict(self._mandatory)
        while True:
            if len(mandatory) > budget:
                raise self._too_small(len(mandatory), share)
            kept = self._filled(mandatory, budget)
            ids = np.asarray(sorted(kept), dtype=np.int32)
            missing = needed_to_stay_known(self._family, ids, self._demand.fragile) if self._demand.fragile else ids[:0]
            if not len(missing):
                return kept
            for i in missing.tolist():
                mandatory[i] = Kept(i, "alphabet", "without it text of the corpus becomes unknown")

    def _filled(self, mandatory: Mapping[int, Kept], budget: int) -> dict[int, Kept]:
        kept = dict(mandatory)
        for place, token_id in enumerate(self._candidates.ids.tolist()):
            known = kept.get(token_id)
            if known is not None:
                if known.origin == "closure" and token_id not in mandatory:
                    kept[token_id] = self._candidate(place)  # it would be here without the token that needs it
                continue
            if len(kept) == budget:
                break
            needs = self._family.requirements(token_id, kept)
            if len(kept) + 1 + len(needs) > budget or any(self._unwanted[i] for i in needs):
                continue
            kept[token_id] = self._candidate(place)
            for i in needs:
                kept[i] = Kept(i, "closure", f"closure of {self._family.tokens[token_id]}")
        return kept

    def _candidate(self, place: int) -> Kept:
        return Kept(int(self._candidates.ids[place]), "corpus", self._candidates.reason(place))

    def _with_what_they_need(self, loss: Loss, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The loss by id where these and the mandatory tokens are kept."""
        kept = set(self._mandatory)
        for token_id in ids.tolist():
            kept.update((token_id, *self._family.requirements(token_id, kept)))
        return loss(np.asarray(sorted(kept), dtype=np.int32))

    # -- what must and what may stay -----------------------------------------------------------------------------------

    def _mandatory_tokens(self) -> dict[int, Kept]:
        found: dict[int, Kept] = {}
        special = self._family.special_ids()
        for i in special[special < self._demand.rows].tolist():
            found[i] = Kept(i, "special", "special, or named by a configuration")
        for i in self._demand.alphabet.tolist():
            origin: Origin = "byte" if self._family.tokens[i] in BYTE_TOKENS else "alphabet"
            found.setdefault(i, Kept(i, origin, "without it some text cannot be written"))
        tokens = self._family.tokens[: self._demand.rows]
        ids = {token: i for i, token in enumerate(tokens) if token is not None}
        for token in self._settings.keep_tokens:
            if token not in ids:
                raise ConfigError(
                    "vocabulary.keep_tokens",
                    f"the teacher has no token {token!r}; give tokens in its own spelling, as tokenizer.json has them",
                )
            found.setdefault(ids[token], Kept(ids[token], "corpus", "named in keep_tokens"))
        for i in list(found):
            for needed in self._family.requirements(i):
                found.setdefault(needed, Kept(needed, "closure", f"closure of {self._family.tokens[i]}"))
        return found

    def _keepable(self) -> NDArray[np.bool_]:
        """By id, whether frequency may keep the token: used often enough, no slot, not matched by the pattern."""
        uses, weights = self._demand.uses, self._demand.weights
        total = np.sum([weights[lang] * found for lang, found in uses.items()], axis=0)
        keepable = (total >= self._settings.min_count) & ~self._unwanted
        keepable[[i for i, token in enumerate(self._family.tokens) if token is None]] = False
        keepable[self._family.placeholder_ids()] = False
        keepable[self._demand.rows :] = False
        return np.asarray(keepable, dtype=np.bool_)

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
                f"{self._settings.size:,} is more than there is: the teacher has {tokens:,} tokens and vocabulary.graft "
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


@dataclass(frozen=True)
class _Candidates:
    """Tokens in the order in which they are offered the budget, each once.

    Attributes:
        ids: int64, shape (C,): teacher ids.
        languages: int64, shape (C,): number of the language whose floor the token is in, -1 for none.
        ranks: int64, shape (C,): rank in that floor, from 1, or behind the floors; 0 for tokens without uses.
        names: the languages.
        floors: tokens in each language's floor.
        measure: what tokens behind the floors are ranked by.
    """

    ids: NDArray[np.int64]
    languages: NDArray[np.int64]
    ranks: NDArray[np.int64]
    names: tuple[str, ...]
    floors: tuple[int, ...]
    measure: str

    @classmethod
    def ranked(
        cls,
        demand: Demand,
        keepable: NDArray[np.bool_],
        mandatory: Ids,
        coverage: float,
        loss: Loss | None,
    ) -> _Candidates:
        """The floors, one language's token after another's, then all others by weighted frequency.

        A floor is a language's most frequent tokens up to ``coverage`` of its uses. Languages take turns: next is the
        one of whose uses the smallest share is covered so far, so that a budget that runs out leaves them alike. By
        frequency, every language's uses are taken as shares, times its weight; with ``loss``, times what is lost where the
        tokens before are kept. Tokens without uses come last, in the teacher's order, which in most vocabularies is
        about that of frequency.
        """
        possible = keepable.copy()
        possible[mandatory] = True
        before, ids, ranks, languages = [], [], [], []
        for number, uses in enumerate(demand.uses.values()):
            order = _most_used(np.where(possible, uses, 0))
            covered = (np.cumsum(uses[order]) - uses[order]) / max(int(uses[order].sum()), 1)
            order = order[covered < coverage]
            before.append(covered[: len(order)])
            ids.append(order)
            ranks.append(np.arange(1, len(order) + 1))
            languages.append(np.full(len(order), number))
        shares = np.where(keepable, _weighted_shares(demand), 0.0)
        rest = _most_used(shares) if loss is None else _most_missed(shares, np.concatenate(ids), loss)
        unused = keepable.copy()
        unused[rest] = False
        behind = len(rest) + np.count_nonzero(unused)
        ids += [rest, np.flatnonzero(unused)]
        ranks += [np.arange(1, len(rest) + 1), np.zeros(behind - len(rest), np.int64)]
        languages += [np.full(behind, -1)]
        turns = [*before, np.full(behind, 2.0)]  # behind every floor
        all_ids, all_ranks, all_languages = (np.concatenate(parts) for parts in (ids, ranks, languages))
        order = np.argsort(np.concatenate(turns), kind="stable")
        chosen = order[_firsts(all_ids[order], len(keepable))]
        floors = tuple(len(floor) for floor in before)
        measure = "weighted frequency" if loss is None else "expected loss"
        return cls(all_ids[chosen], all_languages[chosen], all_ranks[chosen], tuple(demand.uses), floors, measure)

    def reason(self, place: int) -> str:
        """Why the token at this place is offered a row."""
        language, rank = int(self.languages[place]), int(self.ranks[place])
        if language >= 0:
            return f"floor of {self.names[language]}: rank {rank:,} of {self.floors[language]:,}"
        return f"{self.measure} rank {rank:,}" if rank else "unused here; the budget had room"


def _firsts(ids: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Where each id that there is, all below ``size``, stands for the first time, sorted."""
    first = np.full(size, -1)
    # Written from behind, the first place is what stays.
    first[ids[::-1]] = np.arange(len(ids))[::-1]
    return np.sort(first[first >= 0])


def _most_used(score: NDArray[Any]) -> NDArray[np.int64]:
    """Ids with a positive score, the highest first, ties by id."""
    used = np.flatnonzero(score > 0)
    return used[np.argsort(-score[used], kind="stable")]


def _most_missed(shares: NDArray[np.float64], floor: NDArray[np.int64], loss: Loss) -> NDArray[np.int64]:
    """Ids with a positive share, the highest share times loss first.

    What is lost with a token depends on what else is kept, so they are ranked in turns, each on top of all before it.
    """
    order = np.zeros(0, np.int64)
    waiting = shares.copy()
    while waiting.any():
        kept = np.concatenate([floor, order])
        # Used tokens stay before unused ones, even those that lose nothing.
        ranked = _most_used(waiting * np.maximum(loss(kept), _LEAST_LOSS))
        order = np.concatenate([order, ranked[: max(int(_TURN * len(kept)), _LEAST_TURN)]])
        waiting[order] = 0
    return order


def _weighted_shares(demand: Demand) -> NDArray[np.float64]:
    shares = [demand.weights[lang] * uses / max(int(uses.sum()), 1) for lang, uses in demand.uses.items()]
    return np.asarray(np.sum(shares, axis=0), np.float64)


# -- the table ---------------------------------------------------------------------------------------------------------


def _table(family: Family, layout: Layout, selection: Selection, uses: Uses) -> pa.Table:
    total = np.sum(list(uses.values()), axis=0)
    reasons = _graft_reasons(family, selection)
    rows: list[tuple[int, Origin, str]] = []
    for token, teacher_id in zip(layout.tokens, layout.teacher_ids.tolist(), strict=True):
        if teacher_id >= 0:
            kept = selection.kept[teacher_id]
            rows.append((int(total[teacher_id]), kept.origin, kept.reason))
        elif token in layout.padding:
            rows.append((0, "padding", "fills the table to a multiple"))
        else:
            rows.append((layout.grafts[token].count, layout.grafts[token].origin, reasons[token]))
    return layout_to_table(layout, *(list(column) for column in zip(*rows, strict=True)))


def _graft_reasons(family: Family, selection: Selection) -> dict[str, str]:
    """By graft, what it saves in the target languages' train split, or which graft it builds."""
    builds: dict[str, str] = {}
    for graft in selection.grafts:
        for part in graft.merge or ():
            builds.setdefault(part, graft.token)
    pruned = family.write(family.layout(selection.ids, (), 0)).tokenizer
    tokens = [graft.token for graft in selection.grafts]
    reasons = {}
    for graft, pieces, text in zip(selection.grafts, segment(pruned, tokens), family.surfaces(tokens), strict=True):
        # A merge saves one token each time. Text that the kept tokens cannot write counts a token a character.
        saved = 1 if graft.merge else max((len(pieces) or len(text or "")) - 1, 1)
        reasons[graft.token] = f"saves {saved * graft.count:,} tokens"
        if graft.origin == "closure":
            reasons[graft.token] = f"closure of {builds.get(graft.token, 'a graft')}"
    return reasons


def _facts(family: Family, selection: Selection, floor: Ids, layout: Layout, uses: Uses) -> dict[str, Any]:
    origins = Counter(kept.origin for kept in selection.kept.values())
    origins.update(graft.origin for graft in selection.grafts)
    origins["padding"] = len(layout.padding)
    return {
        "family": family.name,
        "size": len(layout),
        "teacher_tokens": sum(token is not None for token in family.tokens),
        "origins": {origin: n for origin, n in sorted(origins.items()) if n},
        "closure": origins["closure"],
        "grafts": len(selection.grafts),
        "graft_share": selection.share,
        "floor_coverage": _coverage(uses, floor),
        "coverage": _coverage(uses, selection.ids),
    }


def _coverage(uses: Uses, ids: Ids) -> dict[str, float]:
    """By language, the share of its uses that these tokens have."""
    return {lang: round(float(found[ids].sum() / max(int(found.sum()), 1)), 6) for lang, found in uses.items()}
