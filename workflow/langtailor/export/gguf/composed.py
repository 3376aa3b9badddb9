"""Unicode's composed form (NFC), to which some tokenizers normalise a text first, which llama.cpp does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langtailor.storage.json_files import load_json_object


def composes(spec: Mapping[str, Any]) -> bool:
    """Whether a tokenizer (the content of its ``tokenizer.json``) only normalises to NFC before it splits a text."""
    return (spec["normalizer"] or {}).get("type") == "NFC"


def folder_composes(folder: Path) -> bool:
    """Whether the tokenizer of a model's folder does."""
    return composes(load_json_object(folder / "tokenizer.json"))
