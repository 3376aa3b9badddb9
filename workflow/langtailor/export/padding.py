"""How an export's texts are padded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def padding(folder: Path) -> dict[str, Any]:
    """How texts of a batch are padded, by ``tokenizer_config.json``: ``direction``, ``pad_id`` and ``pad_token``."""
    from tokenizers import Tokenizer

    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    named = config.get("pad_token") or "[PAD]"
    token = named["content"] if isinstance(named, dict) else named
    number = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(token)
    return {"direction": config.get("padding_side", "right"), "pad_id": number or 0, "pad_token": token}
