"""What a program without torch needs to use an export."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Features = Mapping[str, NDArray[np.int64]]


class Client(ABC):
    """An export as any program may use it.

    Args:
        file: the export's file.
        folder: the folder that has its tokenizer.
        threads: of each call.

    Attributes:
        inputs: names of the features that the export reads.
    """

    inputs: Sequence[str]

    @abstractmethod
    def __init__(self, file: Path, folder: Path, threads: int) -> None: ...

    @abstractmethod
    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts by the tokenizer that such a program has, special ones included, without padding."""

    @abstractmethod
    def run(self, features: Features) -> NDArray[np.float32]:
        """Vectors of tokenized texts; several threads may ask at a time.

        Args:
            features: all of ``inputs``; int64, shape (texts, length).

        Returns:
            float32, shape (texts, dimension).
        """

    @abstractmethod
    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts; float32, shape (texts, dimension)."""
