"""A static model in numpy, its text read by ``tokenizer.json`` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from langtailor.export.client import Client, Features
from langtailor.models.similarity import unit

#: Name of the table, as model2vec and sentence-transformers look for it.
TABLE = "embeddings"


class StaticClient(Client):
    """``numpy`` and ``tokenizers``, on the CPU."""

    inputs = ("input_ids", "attention_mask")

    def __init__(self, file: Path, folder: Path, threads: int) -> None:
        self._rows: NDArray[np.float32] = load_file(file)[TABLE]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """By ``tokenizer.json``, without special tokens."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def run(self, features: Features) -> NDArray[np.float32]:
        """The mean of the rows of each text's tokens, scaled to length 1; of a text without tokens zeros."""
        mask = features["attention_mask"].astype(np.float32)[:, :, None]
        means = (self._rows[features["input_ids"]] * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
        return unit(means)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Tokenize and average, text by text."""
        means = [self._rows[ids].mean(axis=0) if ids else np.zeros(self._rows.shape[1]) for ids in self.ids(texts)]
        return unit(np.asarray(means, np.float32))
