"""Where a model folder keeps its token embeddings, and everything else that has a row per token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from langtailor.errors import LangtailorError
from langtailor.models.folder import ModelInfo, weight_files
from langtailor.models.safetensors_file import StoredTensor, read_tensor, stored_tensors

#: What architectures call their input embeddings and, behind them, their output heads.
_EMBEDDING = re.compile(r"(^|\.)(word_embeddings|embed_tokens|tok_embeddings|embed_in|wte|shared)\.weight$")
_HEAD = re.compile(
    r"(^|\.)(lm_head|embed_out|vocab_projector|generator_lm_head|cls\.predictions|predictions|decoder|head)"
    r"(\.decoder|\.dense)?\.(weight|bias)$"
)
#: A part of a numbered layer; such a part has no row per token, whatever its size.
_IN_LAYER = re.compile(r"\.\d+\.")
#: Precision in which a stored one is computed with.
COMPUTED_IN = {"F32": "float32", "BF16": "bfloat16", "F16": "float32"}


@dataclass(frozen=True)
class VocabularyTensors:
    """Where a model keeps what has a row per token.

    Attributes:
        embedding: name of the input embeddings.
        rows: number of its rows.
        files: file of each of these tensors by name, the input embeddings among them.
    """

    embedding: str
    rows: int
    files: Mapping[str, Path]

    def read_embeddings(self) -> torch.Tensor:
        """The input embeddings as they are stored; shape (rows, width)."""
        return read_tensor(self.files[self.embedding], self.embedding)


def find_vocabulary_tensors(folder: Path) -> VocabularyTensors:
    """Find the tensors of a model folder that have a row per token, by shape and by name.

    Raises:
        LangtailorError: there is no one tensor of input embeddings, a tensor with as many rows has an unknown name,
            or one is stored in an integer precision.
    """
    rows = ModelInfo.read(folder).vocabulary_size
    tensors = {
        tensor.name: (file, tensor)
        for file in weight_files(folder)
        for tensor in stored_tensors(file)
        if tensor.shape[:1] == (rows,) and len(tensor.shape) <= 2 and not _IN_LAYER.search(tensor.name)
    }
    embeddings = sorted(name for name in tensors if _EMBEDDING.search(name))
    if len(embeddings) != 1:
        raise LangtailorError(
            f"{folder}: expected one tensor of input embeddings with {rows:,} rows (`vocab_size` in config.json), "
            f"found {embeddings or 'none'} among {sorted(tensors) or 'none'} with so many rows. Choose another teacher"
        )
    for name, (file, tensor) in tensors.items():
        _check_vocabulary_tensor(file, tensor, name == embeddings[0])
    return VocabularyTensors(embeddings[0], rows, {name: file for name, (file, _) in tensors.items()})


def embedding_file(folder: Path, name: str) -> Path:
    """The weight file of a model folder that holds the tensor ``name``."""
    return next(file for file in weight_files(folder) if any(t.name == name for t in stored_tensors(file)))


def _check_vocabulary_tensor(file: Path, tensor: StoredTensor, embedding: bool) -> None:
    if not embedding and not _HEAD.search(tensor.name):
        raise LangtailorError(
            f"{file}: tensor {tensor.name} has a row per token, but its name is not that of an output head; its "
            "rows may not belong to tokens. Choose another teacher"
        )
    if tensor.dtype not in COMPUTED_IN:
        raise LangtailorError(
            f"{file}: tensor {tensor.name} is stored as {tensor.dtype}; rows can be made in {', '.join(COMPUTED_IN)}. "
            "Choose a teacher that is not quantised"
        )
