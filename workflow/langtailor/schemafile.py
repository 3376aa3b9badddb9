"""Write ``config/schema.yaml`` from the models in :mod:`langtailor.config` (``make schema``)."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from langtailor.config import json_schema

_HEADER = "# Generated from workflow/langtailor/config.py by `make schema`. Edit that file, not this one.\n"


def schema_text() -> str:
    """The schema file's content."""
    return _HEADER + yaml.safe_dump(json_schema(), sort_keys=False, allow_unicode=True, width=110)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
