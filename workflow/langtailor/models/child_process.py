"""Python processes that a job starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def child_environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment for a child that imports the package, with some more variables."""
    package = str(Path(__file__).resolve().parents[2])
    paths = filter(None, [package, os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(added or {})}
