"""Settings of the variants: what each student of a run does differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langtailor.config.base import Section
from langtailor.config.distillation import DistillationSettings
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.vocabulary import VocabularySettings


class VariantOverrides(Section):
    """What one variant does differently from the top-level sections of the same names."""

    vocabulary: dict[str, Any] = {}
    """Overrides of `vocabulary`."""
    initialisation: dict[str, Any] = {}
    """Overrides of `initialisation`."""
    distillation: dict[str, Any] = {}
    """Overrides of `distillation`."""


class Variant(Section):
    """One complete choice of vocabulary, initialisation and training."""

    vocabulary: VocabularySettings
    initialisation: InitialisationSettings
    distillation: DistillationSettings


def merged(sections: Mapping[str, Section], overrides: VariantOverrides) -> dict[str, Any]:
    """The sections with a variant's overrides, as plain data that is not yet validated."""
    return {name: _merge(section.model_dump(), getattr(overrides, name)) for name, section in sections.items()}


def _merge(base: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), dict):
            result[key] = _merge(result[key], value)
        else:
            result[key] = value
    return result
