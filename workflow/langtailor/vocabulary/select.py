"""Which tokens the student has, and why.

The budget is filled in a stated order: special tokens; the alphabet, the configured ``keep_tokens`` and what the corpus
requires; each language's minimum; the remainder by weighted frequency or by expected loss; grafts for the target
languages. A token is kept with all that it requires to be reachable (for BPE, the intermediates of its derivation), and
that counts against the budget.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from langtailor.config.vocabulary import VocabularySettings
from langtailor.models.folder import ModelInfo
from langtailor.models.prompts import all_prompts, prompt_tokens
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest, read_json
from langtailor.storage.digests import sha256_file
from langtailor.surgery.base import Family, Ids, Layout, Origin
from langtailor.surgery.registry import load_family
from langtailor.surgery.segmentation import segment
from langtailor.vocabulary.candidates import Loss
from langtailor.vocabulary.marginal_share import choose_share
from langtailor.vocabulary.selection import Selection
from langtailor.vocabulary.selector import Selector
from langtailor.vocabulary.statistics import Counts, read_statistics
from langtailor.vocabulary.table import layout_to_table
from langtailor.vocabulary.unseen_tokens import expected_counts
from langtailor.vocabulary.word_list import WordList

_LOG = logging.getLogger("langtailor")


def select_vocabulary(
    teacher: Path,
    counts: Mapping[str, Path],
    corpora: Mapping[str, Path],
    donor: Mapping[str, Any] | None,
    settings: VocabularySettings,
    weights: Mapping[str, float],
    targets: Sequence[str],
    prompts: Sequence[str],
    out: Path,
    chosen_share: Path | None = None,
    *,
    may_fall_short: bool = False,
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
        prompts: prompts that the configuration writes out; the tokens of these and of the model's own are kept.
        out: the table's file.
        chosen_share: what the policy ``agreement`` chose (kind ``graft share``).
        may_fall_short: take all tokens where the size is more than there is, instead of refusing it: for a vocabulary that is
            only cut, next to one whose size counts on new tokens.

    Raises:
        ConfigError: the budget is too small for the mandatory tokens or larger than the number of all tokens, or
            ``keep_tokens`` names a token that the teacher does not have.
        ArtifactError: counts or corpora are damaged.
    """
    _LOG.info("loading the tokenizer")
    family = load_family(teacher)
    if may_fall_short:
        tokens = sum(token is not None for token in family.tokens)
        settings = settings.model_copy(update={"size": min(settings.size, tokens)})
    statistics = read_statistics(family, teacher, counts, corpora, weights, targets, alphabet=settings.alphabet)
    loss = _loss(family, teacher) if settings.ranking == "loss" else None
    kept_for_prompts = prompt_tokens(tokenizer_of(family.spec), all_prompts(ModelInfo.read(teacher), prompts))
    listed = None if settings.graft.tokens is None else WordList.read(Path(settings.graft.tokens), family)
    if listed is not None:
        statistics, donor = replace(statistics, words=listed.added_to(statistics.words)), listed.donor()
    expected = partial(_expected, teacher) if settings.min_count == 0 else None
    selector = Selector(family, statistics, settings, donor, loss, kept_for_prompts, expected)
    curve: list[dict[str, Any]] = []
    chosen = {} if chosen_share is None else read_json(chosen_share, "graft share")
    if settings.graft.policy == "marginal":
        selection, curve = choose_share(family, selector.select, corpora, weights, settings.graft.share)
    else:
        selection = selector.select(chosen.get("share", _share(settings, selector, listed)))
    selector.check_filled(selection)
    _LOG.info("writing the vocabulary")
    layout = family.layout(selection.ids, selection.grafts, -len(selection) % settings.pad_to_multiple_of)
    if listed is not None:
        listed.tell_missing(family.write(layout).tokenizer)
    guaranteed = selector.guaranteed_ids(selection)
    facts = _facts(family, selection, guaranteed, layout, statistics.counts)
    facts |= {"marginal_curve": curve, "share_trials": chosen.get("trials", [])}
    manifest = Manifest(
        "vocabulary",
        made_by=settings.model_dump(mode="json")
        | {"weights": dict(weights), "targets": list(targets), "prompts": list(prompts)},
        inputs={
            "tokenizer": sha256_file(teacher / "tokenizer.json"),
            "counts": {lang: sha256_file(path) for lang, path in counts.items()},
            "corpora": {lang: sha256_file(path) for lang, path in corpora.items()},
        },
        facts=facts,
    )
    tables.write_table(out, _table(family, layout, selection, statistics.counts), manifest)
    _LOG.info("vocabulary of %s: %s", f"{len(layout):,}", ", ".join(f"{o} {n:,}" for o, n in facts["origins"].items()))


def _share(settings: VocabularySettings, selector: Selector, listed: WordList | None) -> float:
    """Share of the budget offered to new tokens: that of the settings, or what a list of words can need."""
    if listed is None or settings.graft.share > 0:
        return settings.graft.share
    free = settings.size - len(selector.mandatory_ids)
    return max(0, min(listed.most_rows, free)) / settings.size


def _loss(family: Family, teacher: Path) -> Loss:
    from langtailor.models.vocabulary_tensors import find_vocabulary_tensors
    from langtailor.vocabulary.replacement_cost import replacement_cost

    return partial(replacement_cost, family, find_vocabulary_tensors(teacher).read_embeddings())


def _expected(teacher: Path, counts: Counts) -> Mapping[str, NDArray[np.float64]]:
    from langtailor.models.vocabulary_tensors import find_vocabulary_tensors

    _LOG.info("looking for tokens that are likely in text of these languages, as the corpus has too few")
    return expected_counts(find_vocabulary_tensors(teacher).read_embeddings().float().numpy(), counts)


def _table(family: Family, layout: Layout, selection: Selection, counts: Counts) -> pa.Table:
    total = np.sum(list(counts.values()), axis=0)
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
    """By graft, what it saves in the target languages' train split, or which graft it is a part of."""
    part_of: dict[str, str] = {}
    for graft in selection.grafts:
        for part in graft.merge or ():
            part_of.setdefault(part, graft.token)
    pruned = family.write(family.layout(selection.ids, (), 0)).tokenizer
    tokens = [graft.token for graft in selection.grafts]
    reasons = {}
    for graft, pieces, text in zip(selection.grafts, segment(pruned, tokens), family.surfaces(tokens), strict=True):
        # A merge saves one token each time. Text that the kept tokens cannot encode counts one token for each character.
        saved = 1 if graft.merge else max((len(pieces) or len(text or "")) - 1, 1)
        reasons[graft.token] = f"saves {saved * graft.count:,} tokens"
        if graft.origin == "closure":
            reasons[graft.token] = f"closure of {part_of.get(graft.token, 'a graft')}"
    return reasons


def _facts(family: Family, selection: Selection, guaranteed: Ids, layout: Layout, counts: Counts) -> dict[str, Any]:
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
        "minimum_coverage": _coverage(counts, guaranteed),
        "coverage": _coverage(counts, selection.ids),
    }


def _coverage(counts: Counts, ids: Ids) -> dict[str, float]:
    """By language, the share of its token occurrences that these tokens have."""
    return {lang: round(float(count[ids].sum() / max(int(count.sum()), 1)), 6) for lang, count in counts.items()}
