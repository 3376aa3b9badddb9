"""How an export's texts are padded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from langtailor.storage.json_files import load_json_object


def padded_tokenizer(folder: Path) -> Tokenizer:
    """The ``tokenizer.json`` of a folder, padding as ``tokenizer_config.json`` says."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = load_json_object(folder / "tokenizer_config.json")
    named = config.get("pad_token") or "[PAD]"
    token = named["content"] if isinstance(named, dict) else named
    tokenizer.enable_padding(
        direction=config.get("padding_side", "right"), pad_id=tokenizer.token_to_id(token) or 0, pad_token=token
    )
    return tokenizer


def padding(folder: Path) -> dict[str, Any]:
    """How texts of a batch are padded: ``direction``, ``pad_id`` and ``pad_token``, among others of ``tokenizers``."""
    return dict(padded_tokenizer(folder).padding or {})
