"""Section of the page: where the student's tokens come from, the grafts, and the share of the budget they were given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from langtailor.report import plots
from langtailor.report.formats import percent
from langtailor.storage.artifacts import Manifest

_GRAFTS_SHOWN = 25


def composition_plot(variant: str, origins: Sequence[str]) -> str:
    """Number of tokens of each origin, as an ``<svg>`` element."""
    counts = Counter(origins)
    return plots.stacked_bars([variant], {origin: [counts[origin]] for origin in sorted(counts)}, "tokens")


def graft_rows(vocabulary: pa.Table) -> list[dict[str, Any]]:
    """The most frequent grafts of a vocabulary table: ``token``, ``count`` and ``reason``."""
    grafts = vocabulary.filter(pc.equal(vocabulary["origin"], "target-language"))
    frequent = grafts.sort_by([("count", "descending"), ("new_id", "ascending")]).slice(0, _GRAFTS_SHOWN)
    rows: list[dict[str, Any]] = frequent.select(["token", "count", "reason"]).to_pylist()
    return rows


def share_rows(facts: Mapping[str, Any], fixed: float) -> list[dict[str, Any]]:
    """The shares that the marginal policy tried, and the tokens that each needs; nothing for the fixed policy.

    Args:
        facts: of the vocabulary's manifest.
        fixed: the share in the settings.
    """
    return [
        {
            "share": percent(point["share"]),
            "grafts": f"{point['grafts']:,}",
            "objective": percent(point["objective"]),
            "fertility": _by_language(point["fertility"], 2),
            "chosen": point["share"] == facts["graft_share"],
            "fixed": point["share"] == fixed,
        }
        for point in facts["marginal_curve"]
    ]


def trial_rows(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The shares that the policy ``agreement`` tried, and what each does to the vectors; nothing for other policies.

    Args:
        facts: of the vocabulary's manifest.
    """
    return [
        {
            "share": percent(trial["share"]),
            "grafts": f"{trial['grafts']:,}",
            "cosine": _by_language(trial["cosine"], 4),
            "harm": f"{trial['harm']:.4f}",
            "fertility": _by_language(trial["fertility"], 2),
            "chosen": trial["share"] == facts["graft_share"],
        }
        for trial in facts["share_trials"]
    ]


def row_trial_rows(clone: Manifest) -> list[dict[str, Any]]:
    """The methods of making new rows that were tried, and the cosines that each gives; nothing where one was set.

    Args:
        clone: the clone's manifest.
    """
    return [
        {
            "method": trial["method"],
            "cosine": _by_language(trial["cosine"], 4),
            "chosen": trial["method"] == clone.made_by["method"],
        }
        for trial in clone.facts["row_trials"]
    ]


def _by_language(figures: Mapping[str, float], decimals: int) -> str:
    return ", ".join(f"{lang} {value:.{decimals}f}" for lang, value in figures.items())


def share_plot(facts: Mapping[str, Any]) -> str:
    """Tokens against the share of grafts, as an ``<svg>`` element; empty for the fixed policy."""
    curve = facts["marginal_curve"]
    if not curve:
        return ""
    points = ([point["share"] for point in curve], [100 * point["objective"] for point in curve])
    return plots.curves({"all languages": points}, "share of the budget for new tokens", "tokens, % of the teacher's")
