"""Errors about the files of a model that is being fetched, in the words of who gave it: no temporary folder, no stack trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from langtailor.errors import ArtifactError, ConfigError, LangtailorError, SourceError, UnsupportedTokenizerError

_KEY = "teacher.model"


@contextmanager
def errors_of(folder: Path, model: str) -> Iterator[None]:
    """Have errors about files in a folder name the model, and the file relative to it.

    Args:
        folder: where the model's files are for now.
        model: what the user calls it.

    Raises:
        ConfigError: for an error about a file in the folder, or about what it says.
        UnsupportedTokenizerError: with the model's name.
    """
    try:
        yield
    except ArtifactError as error:
        if not error.path.is_relative_to(folder):
            raise
        place = error.path.relative_to(folder).as_posix()
        text = error.reason if place == "." else f"{place} {error.reason}"
        message = f"{_relative(text, folder, model)}. Repair it in a copy of the model, and give that folder"
        raise ConfigError(_KEY, f"{model!r}: {message}") from error
    except UnsupportedTokenizerError as error:
        raise UnsupportedTokenizerError(f"{model!r}: {_relative(str(error), folder, model)}") from error
    except LangtailorError as error:
        if type(error) not in (LangtailorError, SourceError):
            raise
        raise ConfigError(_KEY, f"{model!r}: {_relative(str(error), folder, model)}") from error


def _relative(text: str, folder: Path, model: str) -> str:
    """A text with its paths relative to the model."""
    return text.removeprefix(f"{folder}: ").replace(f"{folder}/", "").replace(str(folder), model)
