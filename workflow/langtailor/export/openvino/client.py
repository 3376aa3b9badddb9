"""A graph in OpenVINO's runtime."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langtailor.export.client import Features
from langtailor.export.graph_client import GraphClient
from langtailor.export.openvino.no_telemetry import openvino


class OpenvinoClient(GraphClient):
    """``openvino`` and ``tokenizers``, on the CPU, with OpenVINO's own choice of arithmetic.

    Attributes:
        outputs: names of what the graph gives.
    """

    def __init__(self, file: Path, folder: Path, threads: int) -> None:
        super().__init__(file, folder, threads)
        options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(file, "CPU", options)
        self._request, self._lock = compiled.create_infer_request(), threading.Lock()
        self.inputs = [entry.any_name for entry in compiled.inputs]
        self.outputs = [entry.any_name for entry in compiled.outputs]

    def run(self, features: Features) -> NDArray[np.float32]:
        """The graph's ``sentence_embedding``."""
        # A request has one place for its results, which another thread would overwrite before they are copied.
        with self._lock:
            found = self._request.infer({name: features[name] for name in self.inputs})
            return np.array(found["sentence_embedding"], np.float32)
