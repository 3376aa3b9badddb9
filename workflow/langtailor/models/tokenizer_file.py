"""The tokenizer of a model folder, opened for text of any length: without truncation and padding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langtailor.errors import ArtifactError
from langtailor.storage.json_files import load_json_object

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
    """The tokenizer of a model folder.

    Raises:
        ArtifactError: its ``tokenizer.json`` is missing or is none.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise ArtifactError(file, f"cannot be read as a tokenizer ({error})") from error
    return _unlimited(tokenizer)


def tokenizer_of(spec: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that the content of a ``tokenizer.json`` describes."""
    from tokenizers import Tokenizer

    return _unlimited(Tokenizer.from_str(json.dumps(dict(spec))))


def truncation_side(folder: Path) -> str:
    """On which side the library truncates a text that is too long, as the files of a model folder say: ``left`` or ``right``.

    Raises:
        ArtifactError: one of them is unreadable.
    """
    config = load_json_object(folder / "tokenizer_config.json", missing_is_empty=True)
    truncation = load_json_object(folder / "tokenizer.json", missing_is_empty=True).get("truncation") or {}
    return str(config.get("truncation_side") or truncation.get("direction", "right")).lower()


def _unlimited(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
