"""Plain JSON files: those of model folders and of our own folders that have a manifest next to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from langtailor.errors import ArtifactError


def load_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ArtifactError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(path, f"cannot be read as JSON ({error})") from error


def load_json_object(path: Path, *, missing_is_empty: bool = False) -> dict[str, Any]:
    """The content of a file that holds a JSON object.

    Args:
        path: the file.
        missing_is_empty: take a file that is not there for an empty object.

    Raises:
        ArtifactError: it is missing, no JSON, or holds something else.
    """
    if missing_is_empty and not path.is_file():
        return {}
    content = load_json(path)
    if not isinstance(content, dict):
        raise ArtifactError(path, f"holds a JSON {type(content).__name__} where an object is expected")
    return content


def format_json(content: Any) -> bytes:
    """JSON as model folders have it: indented by two, in UTF-8, with a line feed at the end."""
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()
