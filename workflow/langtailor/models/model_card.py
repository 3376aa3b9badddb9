"""What a model folder says of its origin: the front matter of its README and its configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from langtailor.config.teacher import is_local
from langtailor.storage.json_files import load_json_object

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: Folders in which people train, as ``output/model``: such a name is a path, though it looks like a Hub id.
_FOLDERS = frozenset(
    {"checkpoint", "checkpoints", "data", "model", "models", "out", "output", "outputs", "results", "runs", "tmp"}
)


def front_matter(folder: Path) -> dict[str, Any]:
    """The metadata of a folder's model card; empty where there is none, or none that can be read."""
    from huggingface_hub import ModelCard

    readme = folder / "README.md"
    if not readme.is_file():
        return {}
    try:
        card = ModelCard(readme.read_text(encoding="utf-8", errors="replace"), ignore_metadata_errors=True)
    except Exception:  # the YAML reader has many errors; a card is no reason to stop
        return {}
    return dict(card.data.to_dict())  # type: ignore[no-untyped-call]


def described_origin(folder: Path) -> str | None:
    """The Hub id of the model from which a folder says that it was made, if it names one; never a local path."""
    named = [load_json_object(folder / "config.json", missing_is_empty=True).get("_name_or_path")]
    stated = front_matter(folder).get("base_model")
    named += stated if isinstance(stated, list) else [stated]
    return next((name for name in named if isinstance(name, str) and _is_hub_id(name)), None)


def _is_hub_id(name: str) -> bool:
    return _HUB_ID.fullmatch(name) is not None and name.partition("/")[0].lower() not in _FOLDERS


def public_name(model: str) -> str:
    """A model as cards and reports name it: for a folder on somebody's machine, only the folder's name."""
    return Path(model).name if is_local(model) and not model.startswith("package:") else model
