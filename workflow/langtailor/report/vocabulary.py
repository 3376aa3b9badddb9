"""Section of the page: where the student's tokens come from, the grafts, and the share of the budget they were given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from langtailor.report import plots
from langtailor.report.certificate import TOKEN_COLUMNS, fertility_plot, token_rows
from langtailor.report.formats import percent
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest, read_manifest

_GRAFTS_SHOWN = 25


@dataclass(frozen=True)
class VocabularyPart:
    """What the page says of a variant's tokens.

    Attributes:
        size: number of tokens.
        new_tokens: how many of them the teacher does not have.
        composition_plot: where they come from.
        fertility_plot: tokens per word, by language; empty if none has validation text.
        token_columns: headings of ``token_rows``.
        token_rows: a row a language.
        graft_rows: the most frequent new tokens.
        share_rows: the shares of new tokens that the marginal policy tried.
        share_plot: the same as a plot; empty for other policies.
        trial_rows: the shares that the policy ``agreement`` tried.
        row_trial_rows: the methods of new rows that were tried.
    """

    size: int
    new_tokens: int
    composition_plot: str
    fertility_plot: str
    token_columns: Sequence[str]
    token_rows: Sequence[Mapping[str, Any]]
    graft_rows: Sequence[Mapping[str, Any]]
    share_rows: Sequence[Mapping[str, Any]]
    share_plot: str
    trial_rows: Sequence[Mapping[str, Any]]
    row_trial_rows: Sequence[Mapping[str, Any]]


def read_vocabulary(
    root: Path, variant: str, clone: str, size: int, share: float, certificate: Mapping[str, Any]
) -> VocabularyPart:
    """Gather the section of one variant.

    Args:
        root: the run's folder.
        variant: the variant's name.
        clone: the variant under whose name its vocabulary lies.
        size: the student's number of tokens.
        share: of the budget for new tokens, as the settings have it.
        certificate: content of the tokenizer's certificate.

    Raises:
        ArtifactError: an artifact is damaged.
    """
    vocabulary, manifest = tables.read_table(root / "vocabulary" / f"{clone}.parquet", "vocabulary", tables.VOCABULARY)
    return VocabularyPart(
        size=size,
        new_tokens=vocabulary["teacher_id"].null_count,
        composition_plot=composition_plot(variant, vocabulary["origin"].to_pylist()),
        fertility_plot=fertility_plot(certificate),
        token_columns=TOKEN_COLUMNS,
        token_rows=token_rows(certificate, manifest.facts["coverage"]),
        graft_rows=graft_rows(vocabulary),
        share_rows=share_rows(manifest.facts, share),
        share_plot=share_plot(manifest.facts),
        trial_rows=trial_rows(manifest.facts),
        row_trial_rows=row_trial_rows(read_manifest(root / "clone" / clone, "clone", verify=False)),
    )


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
