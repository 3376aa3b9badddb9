"""What a program without torch needs to use an export, and how fast it then is.

Run as a module it measures a graph in a process that has imported nothing else:
``python -m langtailor.export.client GRAPH FOLDER TEXTS THREADS``, where TEXTS is a JSON list.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from langtailor.export.certificate import ClientSpeed
from langtailor.export.padding import padding
from langtailor.models.child_process import child_environment

#: Sentences of a batch, and single ones behind the latency.
_BATCH, _SINGLE = 32, 100


def open_graph(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    """A graph on the CPU, with so many threads for each call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class Client:
    """An export as any program may use it.

    Args:
        graph: the ``.onnx`` file.
        folder: the export's, with ``tokenizer.json``.
        threads: of each call.
    """

    def __init__(self, graph: Path, folder: Path, threads: int) -> None:
        self._session = open_graph(graph, threads)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_padding(**padding(folder))
        self._inputs = {entry.name for entry in self._session.get_inputs()}

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors of texts; float32, shape (texts, dimension)."""
        encodings = self._tokenizer.encode_batch(texts)
        features = {
            "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
            "token_type_ids": np.array([encoding.type_ids for encoding in encodings], np.int64),
        }
        read = {name: features[name] for name in self._inputs}
        vectors: NDArray[np.float32] = self._session.run(["sentence_embedding"], read)[0]
        return vectors


def measure(graph: Path, folder: Path, texts: Path, threads: int) -> ClientSpeed:
    """Measure a graph in a process of its own.

    Args:
        graph: the ``.onnx`` file.
        folder: the export's, with ``tokenizer.json``.
        texts: a JSON file with a list of sentences.
        threads: of each call.
    """
    command = [sys.executable, "-m", __name__, str(graph), str(folder), str(texts), str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=child_environment())
    return ClientSpeed(**json.loads(done.stdout.splitlines()[-1]))


def _measure(graph: Path, folder: Path, texts: list[str], threads: int) -> dict[str, Any]:
    started = time.perf_counter()
    client = Client(graph, folder, threads)
    loaded = time.perf_counter() - started
    batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
    client(batches[-1])
    started = time.perf_counter()
    for batch in batches:
        client(batch)
    seconds = time.perf_counter() - started
    single = []
    for text in texts[:_SINGLE]:
        started = time.perf_counter()
        client([text])
        single.append(1_000 * (time.perf_counter() - started))
    return {
        "threads": threads,
        "sentences_per_s": round(len(texts) / seconds, 1),
        "latency_ms": round(statistics.median(single), 2),
        "latency_95_ms": round(float(np.percentile(single, 95)), 2),
        "load_s": round(loaded, 2),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    sentences = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))
    print(json.dumps(_measure(Path(sys.argv[1]), Path(sys.argv[2]), sentences, int(sys.argv[4]))))
