"""The file that says what was published where."""

from __future__ import annotations

from pathlib import Path

from langtailor.sources.hub_upload import Commit
from langtailor.storage.artifacts import write_json

KIND = "publication"


def write_receipt(out: Path, made: Commit) -> None:
    """Write where something was published, and as which commit.

    Args:
        out: the JSON file (kind ``publication``).
        made: what the repository holds now.
    """
    write_json(out, KIND, {"page": made.page, "commit": made.revision})
