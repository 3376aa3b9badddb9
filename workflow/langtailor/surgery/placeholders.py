"""Tokens that were reserved for later and that no text is encoded as."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

#: ``[unused5]`` (BERT), ``<unused5>`` (Gemma), ``<extra_id_5>`` (T5), ``madeupword0005`` (fairseq).
_RESERVED = re.compile(r"[\[<]unused[ _]?\d+[\]>]|<extra_id_\d+>|madeupword\d+")
_NUMBERED = re.compile(r"[<\[]\|?\w*(?:unused|reserved|extra|control|dummy|placeholder)\w*?[ _]?\d+\|?[>\]]", re.I)
_MEDIA = re.compile(r"[<\[]\|?\w*(?:image|img|audio|video|vision)\w*\|?[>\]]", re.I)


def reserved_tokens(tokens: Collection[str]) -> set[str]:
    """Those of the tokens that are spelled like the reserved ones of BERT, Gemma, T5 or fairseq."""
    return {token for token in tokens if _RESERVED.fullmatch(token)}


def numbered_tokens(tokens: Collection[str]) -> set[str]:
    """Those of the tokens that are named ``unused``, ``reserved`` or alike and numbered."""
    return {token for token in tokens if token[:1] in ("<", "[") and _NUMBERED.fullmatch(token)}


def media_tokens(added: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Those of the added tokens, by content, that are special and stand for images, sound or video."""
    return {token for token, entry in added.items() if entry["special"] and _MEDIA.fullmatch(token)}
