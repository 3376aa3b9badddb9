"""The one exception family of langtailor.

Each message names the file or the configuration key, what was found, what is allowed and what to do.
A job prints such a message alone, without a stack trace: the user can act on it. Any other exception
is a defect of the program and keeps its trace.
"""

from __future__ import annotations

from pathlib import Path


class LangtailorError(Exception):
    """Base of every error that a user can act on."""


class ConfigError(LangtailorError):
    """A configuration value cannot be used.

    Args:
        key: dotted path of the value, for example ``vocabulary.size``.
        message: what was found, what is allowed and what to do.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"config `{key}`: {message}")
        self.key = key


class ArtifactError(LangtailorError):
    """An intermediate file is damaged, foreign or does not match its siblings.

    Args:
        path: the file or directory.
        message: what is wrong with it.
    """

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}. Delete it and run snakemake again: only what needs it is rebuilt.")
        self.path = path


class SourceError(LangtailorError):
    """A corpus source cannot be read or holds no usable text."""


class HubError(LangtailorError):
    """The model and data set hub refused a request or could not be reached."""


class UnsupportedTokenizerError(LangtailorError):
    """The teacher's tokenizer belongs to no family that can be cut and grafted."""


class CertificateError(LangtailorError):
    """A new tokenizer broke a promise of its certificate."""


class TrainingError(LangtailorError):
    """Training cannot go on, for example because the loss is not finite."""
