"""Shorter vectors: the principal components of the teacher's stored ones, as a Dense module and as projected targets.

The components are those of the vectors as they are, not of their distances to the mean: so inner products, which similarities
are, are kept as well as any projection of that length can keep them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from langtailor.errors import ConfigError
from langtailor.models.folder import module_kind, scales_to_unit_length
from langtailor.models.safetensors_file import read_tensor
from langtailor.models.similarity import unit
from langtailor.storage.artifacts import Manifest, atomic_directory, read_manifest, seal_directory
from langtailor.storage.digests import sha256_bytes
from langtailor.storage.json_files import format_json, load_json
from langtailor.vectors.store import FOLDER_KIND, VectorShard, VectorStore, write_shard

_LOG = logging.getLogger("langtailor")
_ROWS_AT_ONCE = 8_192
#: The components next to a model of another encoder.
COMPONENTS_NAME = "teacher_components.safetensors"
_WEIGHT, _BIAS = "linear.weight", "linear.bias"


def principal_components(stores: Iterable[VectorStore], dimensions: int) -> tuple[NDArray[np.float32], float]:
    """The directions in which vectors of length 1 have most of their squared length.

    Args:
        stores: the vectors; each counts as much as any other.
        dimensions: how many directions.

    Returns:
        float32, shape (dimensions, d), orthonormal rows, the first one first, each with its largest number positive; and the
        share of the squared length that they hold.

    Raises:
        ConfigError: the vectors are not longer than that, or there is none.
    """
    moments: NDArray[np.float64] | None = None
    for store in stores:
        for start in range(0, len(store), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(store)))
            vectors = unit(store.take(rows)).astype(np.float64)
            product = vectors.T @ vectors
            moments = product if moments is None else moments + product
    if moments is None:
        raise ConfigError("corpus.quotas.train", "there is no passage to compute `student.dimensions` from")
    if dimensions >= len(moments):
        raise ConfigError("student.dimensions", f"found {dimensions}, but the teacher's vectors have {len(moments)}")
    values, vectors = np.linalg.eigh(moments)
    components = vectors.T[::-1][:dimensions]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    share = float(values[::-1][:dimensions].sum() / values.sum())
    return (components * np.sign(largest)).astype(np.float32), share


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


def write_components(folder: Path, components: NDArray[np.float32]) -> None:
    """Store components next to a model whose last Dense module is not made of them."""
    save_file({_WEIGHT: torch.from_numpy(np.ascontiguousarray(components))}, folder / COMPONENTS_NAME)


def read_components(folder: Path) -> NDArray[np.float32]:
    """The components that the teacher's vectors are projected to; float32, shape (dimensions, d).

    They are stored next to the model, or are what :func:`append_projection` has added to it.
    """
    file = folder / COMPONENTS_NAME
    if not file.is_file():
        modules = load_json(folder / "modules.json")
        file = (
            folder / [module["path"] for module in modules if module_kind(module) == "Dense"][-1] / "model.safetensors"
        )
    weight: NDArray[np.float32] = read_tensor(file, _WEIGHT).float().numpy()
    return weight


def project_vectors(model: Path, vectors: Mapping[str, Sequence[Path]], out: Path) -> None:
    """Project the teacher's stored vectors to the components of a model, once for training and evaluation.

    Args:
        model: the untrained student (kind ``clone``) with its components.
        vectors: shards with the teacher's vectors by language, in order.
        out: a folder (kind ``vector shards``) with ``{lang}/{shard}.arrow``: the same passages with shorter vectors, of length
            1 where the model gives such.

    Raises:
        ArtifactError: an input is damaged.
    """
    read_manifest(model, "clone")
    components, scaled = read_components(model), scales_to_unit_length(load_json(model / "modules.json"))
    made_by = {"projection": sha256_bytes(components.tobytes())}
    inputs = {"shards": {lang: [shard.name for shard in shards] for lang, shards in vectors.items()}}
    with atomic_directory(out) as folder:
        for lang, shards in vectors.items():
            (folder / lang).mkdir()
            for path in shards:
                _project_shard(VectorShard.open(path), components, scaled, made_by, folder / lang / path.name)
        seal_directory(folder, Manifest(FOLDER_KIND, made_by, inputs))
    _LOG.info("projected the vectors of %d languages to %d dimensions", len(vectors), len(components))


def _project_shard(
    shard: VectorShard, components: NDArray[np.float32], scaled: bool, made_by: Mapping[str, str], out: Path
) -> None:
    projected = np.empty((len(shard.ids), len(components)), np.float16)
    for start in range(0, len(projected), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        shorter = shard.vectors[rows].astype(np.float32) @ components.T
        projected[rows] = unit(shorter) if scaled else shorter
    manifest = replace(shard.manifest, made_by={**shard.manifest.made_by, **made_by})
    write_shard(out, shard.ids, shard.splits, shard.digests, projected, manifest)
