"""The libraries whose versions shape results."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

#: Libraries that compute a model's vectors and their gradients.
COMPUTE_LIBRARIES = ("torch", "transformers", "sentence-transformers")


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """The installed version of each library.

    Raises:
        PackageNotFoundError: one is not installed.
    """
    return {name: version(name) for name in libraries}
