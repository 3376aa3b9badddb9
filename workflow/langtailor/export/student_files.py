"""What an export takes over from its student as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from langtailor.storage.artifacts import MANIFEST_NAME, SNAKEMAKE_MARK
from langtailor.storage.json_files import format_json, load_json_object


def copy_student(student: Path, folder: Path) -> None:
    """Copy all files but the transformer's weights, which the export holds, and what was sealed with them.

    Args:
        student: a sentence-transformers folder.
        folder: the export's, which must not exist.
    """

    def ignored(place: str, names: list[str]) -> list[str]:
        top = Path(place) == student
        return [
            name
            for name in names
            if name in (MANIFEST_NAME, SNAKEMAKE_MARK) or (top and name.startswith("model") and "safetensors" in name)
        ]

    shutil.copytree(student, folder, ignore=ignored)
    _mark_tokens(folder / "tokenizer_config.json")


def _mark_tokens(file: Path) -> None:
    """Say of special tokens with settings of their own that they are tokens: transformers.js takes them for nothing else."""
    config = load_json_object(file)
    marked = {key: _marked(key, value) for key, value in config.items()}
    file.write_bytes(format_json(marked))


def _marked(key: str, value: Any) -> Any:
    return {"__type": "AddedToken", **value} if key.endswith("_token") and isinstance(value, dict) else value
