"""What programs that run a graph of token ids have in common: the text is read by ``tokenizer.json`` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from langtailor.export.client import Client
from langtailor.export.padding import padded_tokenizer


class GraphClient(Client):
    """A graph with the package ``tokenizers``; each runtime adds how it runs one."""

    def __init__(self, file: Path, folder: Path, threads: int) -> None:
        self._tokenizer = padded_tokenizer(folder)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """By ``tokenizer.json``."""
        return [_unpadded(encoding) for encoding in self._tokenizer.encode_batch(list(texts))]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Tokenize, pad and run."""
        return self.run(graph_inputs(self._tokenizer, texts))


def graph_inputs(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """What a graph may read of texts: ``input_ids``, ``attention_mask`` and ``token_type_ids``, each of shape (texts, length).

    Args:
        tokenizer: one that pads.
        texts: the prompt is part of each.
    """
    encodings = tokenizer.encode_batch(list(texts))
    return {
        "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
        "token_type_ids": np.array([encoding.type_ids for encoding in encodings], np.int64),
    }


def _unpadded(encoding: Encoding) -> list[int]:
    return [number for number, real in zip(encoding.ids, encoding.attention_mask, strict=True) if real]
