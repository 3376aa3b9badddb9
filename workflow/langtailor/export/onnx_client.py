"""A graph in onnxruntime, its text read by ``tokenizer.json`` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from langtailor.export.client import Client, Features
from langtailor.export.padding import padding


class OnnxClient(Client):
    """``onnxruntime`` and ``tokenizers``, on the CPU."""

    def __init__(self, file: Path, folder: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = [entry.name for entry in self._session.get_inputs()]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_padding(**padding(folder))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """By ``tokenizer.json``."""
        return [_unpadded(encoding) for encoding in self._tokenizer.encode_batch(list(texts))]

    def run(self, features: Features) -> NDArray[np.float32]:
        """The graph's ``sentence_embedding``."""
        read = {name: features[name] for name in self.inputs}
        vectors: NDArray[np.float32] = self._session.run(["sentence_embedding"], read)[0]
        return vectors

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Tokenize, pad and run."""
        encodings = self._tokenizer.encode_batch(list(texts))
        return self.run(
            {
                "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
                "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
                "token_type_ids": np.array([encoding.type_ids for encoding in encodings], np.int64),
            }
        )


def _unpadded(encoding: Encoding) -> list[int]:
    return [number for number, real in zip(encoding.ids, encoding.attention_mask, strict=True) if real]
