"""Rewriting a safetensors file without loading it: some tensors made anew, all others streamed byte by byte.

Format (https://huggingface.co/docs/safetensors#format): eight bytes with the length of the header, the header as JSON,
and the tensors' bytes one behind the other, in the order of ``data_offsets``.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import safe_open

from langtailor.errors import ArtifactError
from langtailor.storage.json_files import format_json, load_json_object

if TYPE_CHECKING:
    import torch

#: Makes a new tensor from an old one.
Remake = Callable[["torch.Tensor"], "torch.Tensor"]
_CHUNK_BYTES = 1 << 22
_ALIGNMENT = 8  # the header is padded so that the tensors start at a multiple of this


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        name: its name.
        dtype: as the format spells it, for example ``BF16``.
        shape: its shape.
        start: position of its first byte in the file.
        size: number of its bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


def stored_tensors(file: Path) -> list[StoredTensor]:
    """The tensors of a file in the order of their bytes.

    Raises:
        ArtifactError: the file is not a whole safetensors file.
    """
    return _read_header(file)[0]


def tensor_shapes(file: Path, *, parameters_only: bool = False) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor in a file, from its header alone.

    Args:
        file: the file.
        parameters_only: leave out integers, which are buffers (BERT's position numbers) and not parameters.

    Raises:
        ArtifactError: the file is not a whole safetensors file.
    """
    return {tensor.name: tensor.shape for tensor in stored_tensors(file) if "F" in tensor.dtype or not parameters_only}


def read_tensor(file: Path, name: str) -> torch.Tensor:
    """One tensor of a file."""
    with safe_open(file, framework="pt") as stream:
        tensor: torch.Tensor = stream.get_tensor(name)
    return tensor


def stored_dtype(folder: Path) -> torch.dtype:
    """Precision of the first floating-point tensor among a module's weights; float32 where it has none."""
    import torch

    for file in sorted(folder.glob("*.safetensors")):
        for tensor in sorted(stored_tensors(file), key=lambda tensor: tensor.name):
            dtype = read_tensor(file, tensor.name).dtype
            if dtype.is_floating_point:
                return dtype
    return torch.float32


def tensor_digests(file: Path) -> dict[str, str]:
    """SHA-256 of each tensor's bytes, by name."""
    digests = {}
    with file.open("rb") as stream:
        for tensor in stored_tensors(file):
            digest = hashlib.sha256()
            for chunk in _chunks(stream, tensor):
                digest.update(chunk)
            digests[tensor.name] = digest.hexdigest()
    return digests


def rewrite_weights(source: Path, target: Path, rows: int, remade: Mapping[str, Remake]) -> None:
    """Copy a file, with other tensors under some of the names.

    Args:
        source: the file to copy.
        target: the new file.
        rows: first dimension of every new tensor.
        remade: by name, what makes the new tensor from the old one. Only its first dimension may differ.

    Raises:
        ArtifactError: ``source`` is not a whole safetensors file.
        ValueError: a new tensor has another shape or precision than stated.
    """
    import torch  # not where a plan only reads headers

    tensors, metadata = _read_header(source)
    shapes = {t.name: (rows, *t.shape[1:]) if t.name in remade else t.shape for t in tensors}
    header = _header([(t.name, t, shapes[t.name]) for t in tensors], metadata)
    with source.open("rb") as old, target.open("wb") as new:
        new.write(header)
        for tensor in tensors:
            if tensor.name not in remade:
                new.writelines(_chunks(old, tensor))
                continue
            before = read_tensor(source, tensor.name)
            after = remade[tensor.name](before)
            if after.shape != shapes[tensor.name] or after.dtype != before.dtype:
                raise ValueError(f"{tensor.name} was rewritten as {after.dtype} {tuple(after.shape)}")
            # Not `tofile`: on a full disk it does not say why it stopped.
            new.write(after.contiguous().view(torch.uint8).numpy().data)


def copy_tensors(source: Path, target: Path, names: Mapping[str, str]) -> None:
    """Copy some tensors of a file, byte by byte.

    Args:
        source: the file to copy from.
        target: the new file.
        names: the new name of each tensor that is copied, by its old one; names of other files' tensors may be among them.

    Raises:
        ArtifactError: ``source`` is not a whole safetensors file.
    """
    tensors, metadata = _read_header(source)
    copied = [tensor for tensor in tensors if tensor.name in names]
    with source.open("rb") as old, target.open("wb") as new:
        new.write(_header([(names[tensor.name], tensor, tensor.shape) for tensor in copied], metadata))
        for tensor in copied:
            new.writelines(_chunks(old, tensor))


def update_index(path: Path, names: Mapping[str, str] | None = None) -> None:
    """Bring a sharded model's index up to date with its files.

    Args:
        path: ``model.safetensors.index.json``, beside the files.
        names: the new name by old one, where :func:`copy_tensors` has renamed and left out tensors.
    """
    index = load_json_object(path)
    if names is not None:
        index["weight_map"] = {names[name]: file for name, file in index["weight_map"].items() if name in names}
    tensors = [t for name in sorted(set(index["weight_map"].values())) for t in stored_tensors(path.parent / name)]
    totals = {"total_size": sum(t.size for t in tensors), "total_parameters": sum(math.prod(t.shape) for t in tensors)}
    metadata = index.get("metadata") or {}
    index["metadata"] = {key: totals.get(key, value) for key, value in metadata.items()}
    path.write_bytes(format_json(index))


def _header(entries: Iterable[tuple[str, StoredTensor, tuple[int, ...]]], metadata: Mapping[str, str] | None) -> bytes:
    """The beginning of a file, for tensors by new name, each with what it was and its new shape, one behind the other."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, tensor, shape in entries:
        start, end = end, end + tensor.size // max(math.prod(tensor.shape), 1) * math.prod(shape)
        header[name] = {"dtype": tensor.dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _read_header(file: Path) -> tuple[list[StoredTensor], dict[str, str] | None]:
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        metadata = header.pop("__metadata__", None)
        tensors = [
            StoredTensor(
                name,
                entry["dtype"],
                tuple(entry["shape"]),
                8 + length + entry["data_offsets"][0],
                entry["data_offsets"][1] - entry["data_offsets"][0],
            )
            for name, entry in header.items()
        ]
    except (OSError, ValueError, TypeError, KeyError, struct.error, MemoryError, OverflowError) as error:
        raise ArtifactError(file, f"is not a safetensors file ({error!r})") from error
    # An empty tensor starts where the next one does.
    return sorted(tensors, key=lambda tensor: (tensor.start, tensor.size)), metadata


def _chunks(stream: BinaryIO, tensor: StoredTensor) -> Iterator[bytes]:
    """The bytes of a tensor, piece by piece."""
    stream.seek(tensor.start)
    left = tensor.size
    while left:
        chunk = stream.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise ArtifactError(Path(stream.name), f"ends inside the tensor {tensor.name}")
        left -= len(chunk)
        yield chunk
