"""A graph in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from langtailor.export.client import Features
from langtailor.export.graph_client import GraphClient


class OnnxClient(GraphClient):
    """``onnxruntime`` and ``tokenizers``, on the CPU."""

    def __init__(self, file: Path, folder: Path, threads: int) -> None:
        super().__init__(file, folder, threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = [entry.name for entry in self._session.get_inputs()]

    def run(self, features: Features) -> NDArray[np.float32]:
        """The graph's ``sentence_embedding``."""
        read = {name: features[name] for name in self.inputs}
        vectors: NDArray[np.float32] = self._session.run(["sentence_embedding"], read)[0]
        return vectors
