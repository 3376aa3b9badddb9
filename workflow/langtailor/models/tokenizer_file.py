"""The tokenizer of a model folder, opened for text of any length: without truncation and padding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Names of the files of a tokenizer in a model folder.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates",
)


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder."""
    from tokenizers import Tokenizer

    return _unlimited(Tokenizer.from_file(str(folder / "tokenizer.json")))


def tokenizer_of(spec: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that the content of a ``tokenizer.json`` describes."""
    from tokenizers import Tokenizer

    return _unlimited(Tokenizer.from_str(json.dumps(dict(spec))))


def _unlimited(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
