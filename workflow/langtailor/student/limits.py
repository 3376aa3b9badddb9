"""One length limit in all files of a model folder.

Each library reads another file: sentence-transformers ``sentence_bert_config.json``, transformers and transformers.js
``tokenizer_config.json``, and who opens ``tokenizer.json`` itself (fastembed) what stands in that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langtailor.models.tokenizer_file import truncation_side
from langtailor.storage.json_files import load_json_object


def unify_limits(folder: Path, limit: int) -> None:
    """Write one limit into every file that has one, and no padding to a fixed length.

    Args:
        folder: a sentence-transformers folder.
        limit: tokens at which a text is truncated, special ones included.
    """
    _edit(folder / "sentence_bert_config.json", lambda config: {**config, "max_seq_length": limit})
    _edit(folder / "tokenizer_config.json", lambda config: _tokenizer_config(config, limit))
    side = truncation_side(folder).capitalize()
    _edit(
        folder / "tokenizer.json", lambda spec: {**spec, "truncation": _truncation(spec, limit, side), "padding": None}
    )


def _tokenizer_config(config: dict[str, Any], limit: int) -> dict[str, Any]:
    # Old versions of transformers wrote the limit of a call, too.
    return {key: limit if key == "max_length" else value for key, value in config.items()} | {"model_max_length": limit}


def _truncation(spec: dict[str, Any], limit: int, side: str) -> dict[str, Any]:
    default = {"strategy": "LongestFirst", "stride": 0}
    return default | (spec.get("truncation") or {}) | {"direction": side, "max_length": limit}


def _edit(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    if file.is_file():
        text = json.dumps(change(load_json_object(file)), ensure_ascii=False, indent=2)
        file.write_text(text + "\n", encoding="utf-8")
