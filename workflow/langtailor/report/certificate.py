"""Section of the page: the tokenizer's certificate and its tokens per word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langtailor.report import plots
from langtailor.report.formats import percent, two_decimals

TOKEN_COLUMNS = (
    "coverage by kept tokens",
    "tokens per word: teacher",
    "pruned only",
    "student",
    "characters per token: teacher",
    "student",
    "passages whose tokens were all kept",
    "of these segmented identically",
    "untouched by grafts",
)
#: The certificate's keys of the three tokenizers, with their names on the page.
_TOKENIZERS = {"teacher": "teacher", "pruned": "pruned only", "new": "student"}


def token_rows(certificate: Mapping[str, Any], coverage: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row a language, with a cell for each of ``TOKEN_COLUMNS``.

    Args:
        certificate: the content of ``certificate.json``.
        coverage: share of the text that kept tokens cover, by language.
    """
    rows = []
    for lang, facts in certificate["languages"].items():
        words, characters = facts["tokens_per_word"], facts["characters_per_token"]
        cells = [
            percent(coverage.get(lang)),
            *(two_decimals(words[key]) for key in _TOKENIZERS),
            *(two_decimals(characters[key]) for key in ("teacher", "new")),
            f"{facts['retained']:,} of {facts['passages']:,}",
            percent(facts["identical_share"]),
            percent(facts["untouched_share"]),
        ]
        rows.append({"lang": lang, "cells": cells})
    return rows


def fertility_plot(certificate: Mapping[str, Any]) -> str:
    """Tokens per word of the three tokenizers by language, as an ``<svg>`` element; empty if no language has text."""
    languages = certificate["languages"]
    series = {
        label: [facts["tokens_per_word"][key] for facts in languages.values()] for key, label in _TOKENIZERS.items()
    }
    if not any(value is not None for values in series.values() for value in values):
        return ""
    return plots.dots(list(languages), series, "tokens per word")


def check_rows(certificate: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the certificate counted, as ``label`` and ``value``."""
    whole = certificate["all"]
    checks = {
        "family": certificate["family"],
        "passages of kept tokens, segmented identically": f"{whole['retained_identical']:,} of {whole['retained']:,}",
        "tokens that no text reaches": f"{certificate['unreachable']:,}",
        "texts that do not round-trip": f"{whole['round_trip_failures']:,} of {whole['round_trips']:,}",
        "unknown tokens, teacher and student": f"{whole['teacher_unknown']:,} and {whole['unknown']:,}",
    }
    for reader, facts in certificate["agreement"].items():
        checks[f"{reader} gives the same ids"] = f"{facts['agree']:,} of {facts['passages']:,}"
    return [{"label": label, "value": value} for label, value in checks.items()]
