"""The projection of vectors to fewer dimensions: as a Dense module of the student, and of the teacher's stored vectors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from langtailor.models.folder import module_kind, scales_to_unit_length
from langtailor.models.safetensors_file import read_tensor
from langtailor.models.similarity import unit
from langtailor.storage.artifacts import Manifest, atomic_directory, read_manifest, seal_directory
from langtailor.storage.digests import sha256_bytes
from langtailor.storage.json_files import format_json, load_json
from langtailor.vectors.store import FOLDER_KIND, VectorShard, write_shard

_LOG = logging.getLogger("langtailor")
_ROWS_AT_ONCE = 8_192
#: The projection of the teacher's vectors, next to a model of another encoder.
PROJECTION_NAME = "teacher_projection.safetensors"
_WEIGHT, _BIAS = "linear.weight", "linear.bias"


def append_projection(
    folder: Path, weights: NDArray[np.float32], dtype: torch.dtype, bias: NDArray[np.float32] | None = None
) -> None:
    """Add a Dense module to a sentence-transformers folder, at its end or before the module that scales vectors to length 1.

    Args:
        folder: the model's folder.
        weights: shape (dimensions, d), the module's weights.
        dtype: precision in which they are stored.
        bias: shape (dimensions,); ``None`` for none.
    """
    modules = load_json(folder / "modules.json")
    place = len(modules) - scales_to_unit_length(modules)
    path = f"{place}_Dense"
    dense = {"path": path, "type": "sentence_transformers.models.Dense"}
    later = [_moved(folder, module, place + 1 + number) for number, module in enumerate(modules[place:])]
    modules = [*modules[:place], dense, *later]
    numbered = [{**module, "idx": index, "name": str(index)} for index, module in enumerate(modules)]
    (folder / "modules.json").write_bytes(format_json(numbered))
    (folder / path).mkdir()
    outputs, inputs = weights.shape
    settings = {"in_features": inputs, "out_features": outputs, "bias": bias is not None}
    activation = {"activation_function": "torch.nn.modules.linear.Identity"}
    (folder / path / "config.json").write_bytes(format_json({**settings, **activation}))
    tensors = {_WEIGHT: weights, **({} if bias is None else {_BIAS: bias})}
    stored = {name: torch.from_numpy(np.ascontiguousarray(values)).to(dtype) for name, values in tensors.items()}
    save_file(stored, folder / path / "model.safetensors", {"format": "pt"})


def _moved(folder: Path, module: Mapping[str, Any], place: int) -> dict[str, Any]:
    """A module at another place, by which the library names its folder."""
    path = f"{place}_{module_kind(module)}"
    if (folder / module["path"]).is_dir():
        (folder / module["path"]).rename(folder / path)
    return {**module, "path": path}


def write_projection(folder: Path, weights: NDArray[np.float32]) -> None:
    """Store the projection of the teacher's vectors next to a model whose last Dense module is another map."""
    save_file({_WEIGHT: torch.from_numpy(np.ascontiguousarray(weights))}, folder / PROJECTION_NAME)


def read_projection(folder: Path) -> NDArray[np.float32]:
    """The projection of the teacher's vectors; float32, shape (dimensions, d).

    It is stored next to the model, or is what :func:`append_projection` has added to it.
    """
    file = folder / PROJECTION_NAME
    if not file.is_file():
        modules = load_json(folder / "modules.json")
        file = (
            folder / [module["path"] for module in modules if module_kind(module) == "Dense"][-1] / "model.safetensors"
        )
    weight: NDArray[np.float32] = read_tensor(file, _WEIGHT).float().numpy()
    return weight


def project_vectors(model: Path, vectors: Mapping[str, Sequence[Path]], out: Path) -> None:
    """Project the teacher's stored vectors as a model does, once for training and evaluation.

    Args:
        model: the untrained student (kind ``clone``) with its projection.
        vectors: shards with the teacher's vectors by language, in order.
        out: a folder (kind ``vector shards``) with ``{lang}/{shard}.arrow``: the same passages with shorter vectors, of length
            1 where the model gives such.

    Raises:
        ArtifactError: an input is damaged.
    """
    read_manifest(model, "clone")
    weights, scaled = read_projection(model), scales_to_unit_length(load_json(model / "modules.json"))
    made_by = {"projection": sha256_bytes(weights.tobytes())}
    inputs = {"shards": {lang: [shard.name for shard in shards] for lang, shards in vectors.items()}}
    with atomic_directory(out) as folder:
        for lang, shards in vectors.items():
            (folder / lang).mkdir()
            for path in shards:
                _project_shard(VectorShard.open(path), weights, scaled, made_by, folder / lang / path.name)
        seal_directory(folder, Manifest(FOLDER_KIND, made_by, inputs))
    _LOG.info("projected the vectors of %d languages to %d dimensions", len(vectors), len(weights))


def _project_shard(
    shard: VectorShard, weights: NDArray[np.float32], scaled: bool, made_by: Mapping[str, str], out: Path
) -> None:
    projected = np.empty((len(shard.ids), len(weights)), np.float16)
    for start in range(0, len(projected), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        shorter = shard.vectors[rows].astype(np.float32) @ weights.T
        projected[rows] = unit(shorter) if scaled else shorter
    manifest = replace(shard.manifest, made_by={**shard.manifest.made_by, **made_by})
    write_shard(out, shard.ids, shard.splits, shard.digests, projected, manifest)
