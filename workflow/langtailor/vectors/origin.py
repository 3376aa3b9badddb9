"""What a teacher's vector of a text depends on besides the text: which teacher it is, and how it reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from langtailor.config.teacher import TeacherSettings
from langtailor.models.folder import ModelInfo
from langtailor.models.prompts import find_prompt
from langtailor.storage.artifacts import Manifest, canonical_json
from langtailor.storage.digests import sha256_bytes

#: Of :func:`reading_settings` what decides on the vector of a given text.
DECISIVE = ("prompt", "max_length", "dtype", "pooling")


def reading_settings(teacher: Path, settings: TeacherSettings) -> dict[str, Any]:
    """The teacher's settings with what the model decides: the prompt written out, the pooling and the length limit.

    Args:
        teacher: the teacher's folder.
        settings: as configured, for one language.
    """
    info = ModelInfo.read(teacher)
    return settings.model_dump(mode="json", exclude={"language_prompts"}) | {
        "prompt": find_prompt(info, settings.prompt),
        "pooling": info.pooling,
        "max_length": settings.max_length or info.max_length,
    }


def decisive(reading: Mapping[str, Any]) -> dict[str, Any]:
    """Of :func:`reading_settings` the values of :data:`DECISIVE`."""
    return {key: reading[key] for key in DECISIVE}


def teacher_digest(manifest: Manifest) -> str:
    """SHA-256 over the digests of a teacher's files, wherever it was fetched from; its card, which changes often, is left out.

    Args:
        manifest: that of the teacher's folder (kind ``teacher``).
    """
    files = {name: digest for name, digest in manifest.files.items() if PurePosixPath(name).name != "README.md"}
    return sha256_bytes(canonical_json(files).encode())
