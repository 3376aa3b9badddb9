"""The clone's weight files and configurations."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from langtailor.clone.rows import Rows
from langtailor.models.folder import weight_files
from langtailor.models.safetensors_file import Remake, read_tensor, rewrite_weights, tensor_digests, update_index
from langtailor.models.vocabulary_tensors import VocabularyTensors, embedding_file
from langtailor.storage.atomic import atomic_file
from langtailor.storage.json_files import format_json, load_json_object
from langtailor.surgery.base import Layout

_LOG = logging.getLogger("langtailor")
_INDEX = "model.safetensors.index.json"
_CONFIGS = ("config.json", "generation_config.json")


def write_weights(teacher: Path, folder: Path, where: VocabularyTensors, remake: Remake, rows: int) -> dict[str, str]:
    """Write every weight file: new tensors where there is a row per token, copies of all others.

    Args:
        teacher: the teacher's folder.
        folder: the clone's folder.
        where: the tensors that have a row per token.
        remake: makes a new one of them from the teacher's.
        rows: rows of the new ones.

    Returns:
        SHA-256 of each tensor that was copied, by ``file:name``.
    """
    copied = {}
    for source in weight_files(teacher):
        relative = source.relative_to(teacher)
        remade = {name: remake for name, file in where.files.items() if file == source}
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        rewrite_weights(source, folder / relative, rows, remade)
        before, after = tensor_digests(source), tensor_digests(folder / relative)
        for name in before.keys() - remade.keys():
            if before[name] != after[name]:
                raise RuntimeError(f"{relative}: tensor {name} changed in copying")
            copied[f"{relative.as_posix()}:{name}"] = before[name]
    for index in folder.rglob(_INDEX):
        update_index(index)
    return copied


def replace_rows(folder: Path, where: VocabularyTensors, rows: Rows, values: torch.Tensor) -> None:
    """Replace rows of the clone's input embeddings.

    Args:
        folder: the clone's folder.
        where: the tensors that have a row per token.
        rows: new ids.
        values: shape (rows, d), any floating dtype.
    """
    file = embedding_file(folder, where.embedding)

    def replaced(table: torch.Tensor) -> torch.Tensor:
        return table.index_copy(0, torch.from_numpy(rows), values.to(table.dtype))

    with atomic_file(file) as temporary:
        rewrite_weights(file, temporary, len(read_tensor(file, where.embedding)), {where.embedding: replaced})


def write_configs(folder: Path, layout: Layout, rows: int) -> None:
    """Set the number of tokens and the ids of special tokens wherever a configuration has them.

    Args:
        folder: the clone's folder, with the teacher's configurations.
        layout: the new vocabulary.
        rows: rows of the teacher's table.
    """
    new_ids = {old: new for new, old in enumerate(layout.teacher_ids.tolist()) if old >= 0}
    for path in (folder / name for name in _CONFIGS):
        if path.is_file():
            config = _renumbered(load_json_object(path), new_ids, rows, len(layout), path.name)
            path.write_bytes(format_json(config))


def _renumbered(
    config: Mapping[str, Any], new_ids: Mapping[int, int], rows: int, size: int, place: str
) -> dict[str, Any]:
    """A configuration, and those nested in it, with the new ids and the new size; a dropped id becomes null."""
    new: dict[str, Any] = {}
    for key, value in config.items():
        here = f"{place}: {key}"
        if isinstance(value, Mapping) and not key.startswith(("vision", "audio")):
            new[key] = _renumbered(value, new_ids, rows, size, here)
        elif key == "vocab_size" and value == rows:
            new[key] = size
        elif re.search(r"_token_(id|index)s?$|suppress_tokens$", key):
            new[key] = _new_ids(value, new_ids, here)
        else:
            new[key] = value
    return new


def _new_ids(value: Any, new_ids: Mapping[int, int], place: str) -> Any:
    if isinstance(value, list):
        renumbered = [_new_ids(member, new_ids, place) for member in value]
        return [member for member in renumbered if member is not None]
    if isinstance(value, int) and value not in new_ids:
        _LOG.warning("%s referred to token %d, which was removed; set to null", place, value)
    return new_ids.get(value) if isinstance(value, int) else value
