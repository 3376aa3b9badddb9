"""From a configuration to checked settings: the one way in, which first registers the kinds of evaluation tasks.

Run as a module it describes the settings (``make schema``): ``python -m langtailor.planning.configuration config``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langtailor.config.loading import validated_settings
from langtailor.config.run import Settings
from langtailor.config.schema import schema_text
from langtailor.evaluation.tasks import register_tasks


def load_settings(config: Mapping[str, Any]) -> Settings:
    """Turn a configuration into settings.

    Raises:
        ConfigError: names the offending key, its value and what is allowed.
    """
    register_tasks()
    return validated_settings(config)


def descriptions() -> dict[str, str]:
    """Files that describe the settings, by name in ``config/``."""
    register_tasks()
    return {"schema.yaml": schema_text()}


if __name__ == "__main__":
    for name, text in descriptions().items():
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
