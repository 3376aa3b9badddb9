"""Which tokens the student has, and why.

The budget is filled in a stated order: special tokens; the alphabet and the user's own ``keep_tokens``; per-language
floors; the rest by weighted frequency; grafts for the target languages. A token brings what it needs to be reachable
(for BPE, the intermediates of its derivation), and that counts against the budget too.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langtailor import tables
from langtailor.artifacts import Manifest, sha256_file
from langtailor.config import VocabularySettings
from langtailor.corpus import read_corpus
from langtailor.counting import bare_tokenizer, encode, read_counts
from langtailor.errors import ConfigError
from langtailor.surgery.base import Family, Graft, Ids, Layout, Origin
from langtailor.surgery.layout_table import layout_to_table
from langtailor.surgery.registry import load_family

_LOG = logging.getLogger("langtailor")
#: Shares of the vocabulary that the `marginal` policy tries for grafts.
_SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
#: Validation passages per language on which that policy measures.
_MEASURED_PASSAGES = 500
#: Rounds in which budget that grafts leave unused goes back to the teacher's tokens.
_ROUNDS = 4

Uses = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Kept:
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
        curve: what the ``marginal`` policy measured at each share it tried; empty for ``fixed``.
    """

    kept: Mapping[int, Kept]
    grafts: tuple[Graft, ...]
    share: float
    curve: tuple[Mapping[str, Any], ...] = field(default=())

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
    """
    family = load_family(teacher)
    uses = {lang: read_counts(path).uses for lang, path in counts.items()}
    words = family.words(_texts(corpora, targets, "train"))
    _LOG.info("%s: %s distinct pieces of target-language text", family.name, f"{len(words):,}")
    selector = Selector(family, uses, weights, settings, words, donor)
    if settings.graft.policy == "marginal":
        selection = _best_share(selector, teacher, corpora, weights)
    else:
        selection = selector.select(settings.graft.share)
    _check_filled(selection, settings)
    layout = _layout(family, selection, settings)
    manifest = Manifest(
        "vocabulary",
        made_by=settings.model_dump(mode="json") | {"weights": dict(weights), "targets": list(targets)},
        inputs={
            "tokenizer": sha256_file(teacher / "tokenizer.json"),
            "counts": {lang: sha256_file(path) for lang, path in counts.items()},
        },
        facts=_facts(family, selection, layout, uses),
    )
    tables.write_table(out, _table(layout, selection, uses), manifest)
    origins = manifest.facts["origins"]
    _LOG.info("vocabulary of %s: %s", f"{len(layout):,}", ", ".join(f"{o} {n:,}" for o, n in origins.items()))


class Selector:
    """Fills a budget by the stated policy.

    Args:
        family: the teacher's tokenizer.
        uses: uses of each teacher token by language.
        weights: weight of each language.
        settings: budget and policy.
        words: pieces of target-language text with their uses.
        donor: ``tokenizer.json`` of a given donor, or ``None``.
    """

    def __init__(
        self,
        family: Family,
        uses: Uses,
        weights: Mapping[str, float],
        settings: VocabularySettings,
        words: Mapping[str, int],
        donor: Mapping[str, Any] | None,
    ) -> None:
        self.family, self.settings = family, settings
        self._uses, self._weights, self._words, self._donor = uses, weights, words, donor
        self._keepable = self._allowed()
        self._mandatory = self._mandatory_tokens()
        self._candidates = [*self._floors(), *self._by_frequency()]

    def select(self, share: float) -> Selection:
        """Kept tokens and grafts with ``share`` of the budget offered to grafts.

        Grafts depend on what is kept, and what is kept on how much the grafts leave. So budget that the grafts do not
        use goes back to the teacher's tokens and the grafts are proposed anew, until nothing is left over or to give.
        """
        size, min_count = self.settings.size, self.settings.graft.min_count
        offered = round(share * size)
        for _ in range(_ROUNDS):
            kept = self._keep(size - offered)
            grafts: list[Graft] = []
            if offered:
                ids = np.asarray(sorted(kept), dtype=np.int32)
                grafts = self.family.propose_grafts(ids, self._words, offered, min_count, self._donor)[:offered]
            left = size - len(kept) - len(grafts)
            if not left or len(grafts) == offered or len(kept) < size - offered:
                break
            offered = len(grafts)
        return Selection(kept, tuple(grafts), share)

    def _keep(self, budget: int) -> dict[int, Kept]:
        if len(self._mandatory) > budget:
            share = 1 - budget / self.settings.size
            unit = self.settings.pad_to_multiple_of
            needed = int(np.ceil(len(self._mandatory) / (1 - share))) if share < 1 else 0
            least = -(-needed // unit) * unit
            raise ConfigError(
                "vocabulary.size",
                f"{self.settings.size:,} with a share of {share:.2f} for grafts leaves {budget:,} rows, but special "
                f"tokens, alphabet and keep_tokens need {len(self._mandatory):,}; "
                + (f"the smallest size that holds them is {least:,}" if least else "lower vocabulary.graft.share"),
            )
        kept = dict(self._mandatory)
        for candidate in self._candidates:
            if len(kept) >= budget:
                break
            if candidate.token_id in kept:
                continue
            needs = [i for i in self.family.requirements(candidate.token_id) if i not in kept]
            if len(kept) + 1 + len(needs) > budget:
                continue
            kept[candidate.token_id] = candidate
            token = self.family.tokens[candidate.token_id]
            for needed_id in needs:
                kept.setdefault(needed_id, Kept(needed_id, "closure", f"builds {token}"))
        return kept

    def _mandatory_tokens(self) -> dict[int, Kept]:
        # EmbeddingGemma's tokenizer names one special token more than the embedding table has rows.
        special = (i for i in self.family.special_ids().tolist() if i < len(self._keepable))
        found = {i: Kept(i, "special", "special or named by the post-processor") for i in special}
        for i in self.family.alphabet_ids().tolist():
            origin: Origin = "byte" if re.fullmatch(r"<0x[0-9A-F]{2}>", self.family.tokens[i] or "") else "alphabet"
            found.setdefault(i, Kept(i, origin, "without it some text cannot be written"))
        known = {token: i for i, token in enumerate(self.family.tokens) if token is not None}
        for token in self.settings.keep_tokens:
            if token not in known:
                raise ConfigError("vocabulary.keep_tokens", f"the teacher has no token {token!r}")
            found.setdefault(known[token], Kept(known[token], "corpus", "named in keep_tokens"))
        for i in list(found):
            for needed in self.family.requirements(i):
                found.setdefault(needed, Kept(needed, "closure", f"builds {self.family.tokens[i]}"))
        return found

    def _allowed(self) -> NDArray[np.bool_]:
        """Which teacher tokens frequency may keep: used often enough, no placeholder, not matched by the pattern."""
        total = np.sum([self._weights[lang] * uses for lang, uses in self._uses.items()], axis=0)
        allowed = total >= self.settings.min_count
        allowed[[i for i, token in enumerate(self.family.tokens[: len(allowed)]) if token is None]] = False
        allowed[len(self.family.tokens) :] = False
        placeholders = self.family.placeholder_ids()
        allowed[placeholders[placeholders < len(allowed)]] = False
        if self.settings.drop_pattern is not None:
            pattern = re.compile(self.settings.drop_pattern)
            ids = np.flatnonzero(allowed)
            surfaces = self.family.surfaces([self.family.tokens[i] or "" for i in ids.tolist()])
            matched = [i for i, surface in zip(ids, surfaces, strict=True) if surface and pattern.search(surface)]
            allowed[matched] = False
        return np.asarray(allowed, dtype=np.bool_)

    def _floors(self) -> Iterator[Kept]:
        """Each language's most frequent tokens up to its coverage, in turns by the share covered so far."""
        before, langs, ids = [], [], []
        for number, uses in enumerate(self._uses.values()):
            order = np.argsort(-uses, kind="stable")
            order = order[(uses[order] > 0) & self._keepable[order]]
            total = max(int(uses.sum()), 1)
            covered = (np.cumsum(uses[order]) - uses[order]) / total
            order, covered = order[covered < self.settings.coverage], covered[covered < self.settings.coverage]
            before.append(covered)
            ids.append(order)
            langs.append(np.full(len(order), number))
        shares, owners, tokens = (np.concatenate(parts) for parts in (before, langs, ids))
        names = list(self._uses)
        for place in np.lexsort((tokens, owners, shares)):
            lang = names[owners[place]]
            yield Kept(
                int(tokens[place]),
                "corpus",
                f"floor of {lang}: {100 * shares[place]:.1f} % of its uses are covered before it",
            )

    def _by_frequency(self) -> Iterator[Kept]:
        """All other tokens by weighted frequency, every language's uses taken as shares.

        With ``min_count`` 0 the tokens that the corpus never uses follow, in the teacher's order, which in most vocabularies
        is about that of frequency: a small corpus is no reason to forget common words.
        """
        score = np.sum(
            [self._weights[lang] * uses / max(int(uses.sum()), 1) for lang, uses in self._uses.items()], axis=0
        )
        order = np.argsort(-score, kind="stable")
        order = order[self._keepable[order]]
        for rank, token_id in enumerate(order.tolist(), start=1):
            why = f"weighted frequency: rank {rank:,}" if score[token_id] > 0 else "unused here; the budget had room"
            yield Kept(token_id, "corpus", why)


def _best_share(
    selector: Selector, teacher: Path, corpora: Mapping[str, Path], weights: Mapping[str, float]
) -> Selection:
    """The share of grafts that spends the fewest tokens on the validation text, relative to the teacher.

    What one more graft saves and one more teacher token would have saved is measured, not estimated: each share's
    tokenizer is built and cuts the validation text of every language.
    """
    texts = {
        lang: list(_texts({lang: path}, [lang], "validation"))[:_MEASURED_PASSAGES] for lang, path in corpora.items()
    }
    texts = {lang: found for lang, found in texts.items() if found}
    base = {lang: sum(map(len, encode(bare_tokenizer(teacher), found))) for lang, found in texts.items()}
    curve: list[dict[str, Any]] = []
    tried: list[Selection] = []
    for share in _SHARES:
        try:
            selection = selector.select(share)
        except ConfigError:
            break  # larger shares leave even less room for the mandatory tokens
        tokens = _tokens(selector.family, selection, texts)
        ratios = {lang: tokens[lang] / base[lang] for lang in texts}
        cost = sum(weights[lang] * ratio for lang, ratio in ratios.items()) / sum(weights[lang] for lang in texts)
        _LOG.info("grafts %2.0f %%: %.4f of the teacher's tokens", 100 * share, cost)
        curve.append({"share": share, "cost": round(cost, 6), "tokens": {k: round(v, 6) for k, v in ratios.items()}})
        tried.append(selection)
        if len(selection.grafts) < round(share * selector.settings.size):
            break  # there are no more grafts to be had
    if not tried:
        return selector.select(0.0)  # names the smallest size that holds the mandatory tokens
    best = min(range(len(tried)), key=lambda place: float(curve[place]["cost"]))
    chosen = tried[best]
    return Selection(chosen.kept, chosen.grafts, chosen.share, tuple(curve))


def _tokens(family: Family, selection: Selection, texts: Mapping[str, list[str]]) -> dict[str, int]:
    from tokenizers import Tokenizer

    spec = family.write(family.layout(selection.ids, selection.grafts, 0)).tokenizer
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return {lang: sum(map(len, encode(tokenizer, found))) for lang, found in texts.items()}


def _texts(corpora: Mapping[str, Path], langs: Sequence[str], split: str) -> Iterator[str]:
    for lang in langs:
        yield from read_corpus(corpora[lang], split, columns=["text"])["text"].to_pylist()


def _check_filled(selection: Selection, settings: VocabularySettings) -> None:
    if len(selection) < settings.size:
        _LOG.warning(
            "the corpus uses only %s of the %s tokens of vocabulary.size (%s of the teacher's, %s grafts); the table "
            "has no more. Lower the size, or min_count, or give more text.",
            *(f"{n:,}" for n in (len(selection), settings.size, len(selection.kept), len(selection.grafts))),
        )


def _layout(family: Family, selection: Selection, settings: VocabularySettings) -> Layout:
    unit = settings.pad_to_multiple_of
    return family.layout(selection.ids, selection.grafts, -len(selection) % unit)


def _table(layout: Layout, selection: Selection, uses: Uses) -> Any:
    total = np.sum(list(uses.values()), axis=0)
    counts, origins, reasons = [], [], []
    for token, teacher_id in zip(layout.tokens, layout.teacher_ids.tolist(), strict=True):
        if teacher_id >= 0:
            kept = selection.kept[teacher_id]
            row: tuple[int, Origin, str] = (int(total[teacher_id]), kept.origin, kept.reason)
        elif token in layout.padding:
            row = (0, "padding", "fills the table to a multiple")
        else:
            graft = layout.grafts[token]
            why = f"used {graft.count:,} times in the target languages"
            row = (graft.count, graft.origin, why if graft.origin == "target-language" else "builds a later graft")
        counts.append(row[0])
        origins.append(row[1])
        reasons.append(row[2])
    return layout_to_table(layout, counts, origins, reasons)


def _facts(family: Family, selection: Selection, layout: Layout, uses: Uses) -> dict[str, Any]:
    ids = selection.ids
    origins = Counter(kept.origin for kept in selection.kept.values())
    origins.update(graft.origin for graft in selection.grafts)
    origins["padding"] = len(layout.padding)
    return {
        "family": family.name,
        "size": len(layout),
        "teacher_tokens": int(sum(token is not None for token in family.tokens)),
        "origins": {origin: n for origin, n in sorted(origins.items()) if n},
        "graft_share": selection.share,
        "coverage": {lang: round(float(n[ids].sum() / max(int(n.sum()), 1)), 6) for lang, n in uses.items()},
        "teacher_used": {lang: int((n > 0).sum()) for lang, n in uses.items()},
        "marginal_curve": list(selection.curve),
    }
