"""The tokenizer whose tokens are grafted, where the configuration names one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langtailor.config.vocabulary import GraftSettings
from langtailor.errors import ArtifactError, ConfigError
from langtailor.storage.json_files import load_json_object

_KEY = "vocabulary.graft.donor"


def donor_file(donor: str) -> Path | None:
    """The ``tokenizer.json`` of a donor in the user's own folder; ``None`` for any other donor."""
    return Path(donor).expanduser() / "tokenizer.json" if donor.startswith((".", "/", "~")) else None


def own_graft_files(settings: GraftSettings) -> dict[str, Path]:
    """The user's own files that grafts come from, by key: a donor's ``tokenizer.json`` or a list of words."""
    tokens = Path(settings.tokens) if settings.tokens else None
    files = {"donor": donor_file(settings.donor), "tokens": tokens}
    return {key: file for key, file in files.items() if file is not None}


def load_donor(settings: GraftSettings, work: Path) -> dict[str, Any] | None:
    """Content of the donor's ``tokenizer.json``; ``None`` when new tokens are trained from the corpus.

    Args:
        settings: ``donor`` and ``donor_revision`` are used.
        work: folder for what is downloaded.

    Raises:
        ConfigError: the donor has no ``tokenizer.json``.
        HubError: the Hub refuses or cannot be reached.
    """
    if settings.donor == "trained":
        return None
    file = donor_file(settings.donor)
    if file is None:
        from langtailor.sources.hub import download_file

        file = download_file(settings.donor, "tokenizer.json", settings.donor_revision, work)
    try:
        return load_json_object(file)
    except ArtifactError as error:
        raise ConfigError(_KEY, f"{settings.donor!r} has no readable tokenizer.json ({error})") from error
