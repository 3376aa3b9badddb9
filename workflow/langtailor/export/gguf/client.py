"""A GGUF file in llama.cpp, by the server inside the package ``xllamacpp``, over this machine's loopback interface."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import xllamacpp
from numpy.typing import NDArray

from langtailor.errors import ExportError
from langtailor.export.client import Client, Features
from langtailor.export.gguf.composed import folder_composes
from langtailor.models.folder import ModelInfo, scales_to_unit_length
from langtailor.storage.json_files import load_json

#: How the server scales a vector: to length 1, or not at all.
_TO_LENGTH_ONE, _AS_IT_IS = 2, -1


class LlamaClient(Client):
    """llama.cpp on the CPU. It neither truncates nor composes text (NFC): both is done here as the student does it."""

    def __init__(self, file: Path, folder: Path, threads: int) -> None:
        self.inputs = ["input_ids", "attention_mask"]
        self._limit, self._composes = length_limit(folder), folder_composes(folder)
        scaled = scales_to_unit_length(load_json(folder / "modules.json"))
        self._scaling = _TO_LENGTH_ONE if scaled else _AS_IT_IS
        settings = xllamacpp.CommonParams()
        settings.model.path = str(file)
        settings.embedding, settings.warmup, settings.verbosity = True, False, 0
        settings.n_ctx = self._limit + 1  # a causal model's text leaves room for a token behind it
        settings.n_batch = settings.n_ubatch = self._limit
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
        try:
            self._server = xllamacpp.Server(settings)
        except RuntimeError as error:
            raise ExportError(f"llama.cpp cannot open {file}") from error
        self._address = urlsplit(self._server.listening_address).netloc

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """By the tokenizer in the file."""
        return [
            self._truncated(self._ask("/tokenize", content=self._composed(text), add_special=True)["tokens"])
            for text in texts
        ]

    def run(self, features: Features) -> NDArray[np.float32]:
        """Vectors as the student scales them."""
        rows = zip(features["input_ids"], features["attention_mask"], strict=True)
        return self._vectors([ids[mask == 1].tolist() for ids, mask in rows])

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Tokenize, truncate and run."""
        return self._vectors(self.ids(texts))

    def _composed(self, text: str) -> str:
        return unicodedata.normalize("NFC", text) if self._composes else text

    def _truncated(self, ids: list[int]) -> list[int]:
        return ids if len(ids) <= self._limit else [*ids[: self._limit - 1], ids[-1]]

    def _vectors(self, ids: list[list[int]]) -> NDArray[np.float32]:
        answers = self._ask("/embedding", content=ids, embd_normalize=self._scaling)
        return np.array([answer["embedding"][0] for answer in sorted(answers, key=_place)], np.float32)

    def _ask(self, path: str, **question: Any) -> Any:
        connection = HTTPConnection(self._address)
        try:
            connection.request("POST", path, json.dumps(question), {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise ExportError(f"llama.cpp: {answer['error']['message']}")
        return answer


def _place(answer: dict[str, Any]) -> int:
    return int(answer["index"])


def length_limit(folder: Path) -> int:
    """Tokens at which a folder's model truncates a text, special ones included."""
    return ModelInfo.read(folder).max_length
