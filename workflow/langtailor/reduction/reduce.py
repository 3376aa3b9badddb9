"""The clone with fewer layers, shorter vectors or vectors in another teacher's space, as the student's training starts.

Layers that are left are the clone's, byte by byte.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langtailor.config.student import StudentSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError
from langtailor.models.folder import ModelInfo, weight_files
from langtailor.models.safetensors_file import copy_tensors, stored_dtype, tensor_digests, update_index
from langtailor.models.similarity import Similarity
from langtailor.reduction.layer_choice import LeftOut, choose_layers
from langtailor.reduction.layers import LayerTensors, chosen_layers, layer_count, reduced_config
from langtailor.reduction.mapping import fit_map
from langtailor.reduction.projection import append_projection, write_projection
from langtailor.reduction.shorter_vectors import shorten
from langtailor.storage.artifacts import (
    MANIFEST_NAME,
    SNAKEMAKE_MARK,
    Manifest,
    atomic_directory,
    directory_digest,
    read_manifest,
    seal_directory,
)
from langtailor.storage.json_files import format_json, load_json_object
from langtailor.teacher.accept import accept_teacher
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")


def reduce_clone(
    clone: Path,
    vectors: Mapping[str, Sequence[Path]],
    settings: StudentSettings,
    out: Path,
    *,
    corpora: Mapping[str, Path],
    reading: TeacherSettings,
    device: str = "cpu",
) -> None:
    """Make a clone smaller, and map the vectors of one that is not the teacher's to the teacher's.

    Args:
        clone: the clone (kind ``clone``).
        vectors: shards with the teacher's vectors by language, in order; to those of the training split the projection
            to fewer dimensions is fitted.
        settings: layers, dimensions, and whether it is the clone of another encoder.
        out: the smaller clone (kind ``clone``), a sentence-transformers folder. The manifest's facts are those of the clone
            with the new ``parameters`` and ``bytes``, and ``reduction``: ``layers`` that are left of ``teacher_layers``, those
            ``left_out`` one by one with the mean ``cosine`` to all layers from then on, the number of ``identical_tensors``,
            ``dimensions``, ``retained``, the share of the vectors' squared length that as many principal components hold,
            ``cosine_error``, the root mean square of the change of near vectors' cosines by these and by the fitted projection,
            and ``mapped``, the mean cosine of another encoder's mapped vectors to the teacher's.
        corpora: ``corpus/{lang}.parquet`` by language, for another encoder or a choice of layers by their vectors.
        reading: how the clone reads a text.
        device: ``cpu`` or ``cuda``, for reading text.

    Raises:
        ArtifactError: an input is damaged.
        ConfigError: the model has no such layers or no vectors of that length, or gives no vectors without the others.
        LangtailorError: the model's layers cannot be told apart.
    """
    source = read_manifest(clone, "clone")
    count = layer_count(load_json_object(clone / "config.json"), clone / "config.json")
    layers, left_out = _kept_layers(clone, settings, count, corpora, reading, device)
    facts: dict[str, Any] = {
        "layers": layers,
        "teacher_layers": count,
        "left_out": [asdict(each) for each in left_out],
        "identical_tensors": None,
    }
    with atomic_directory(out) as folder:
        if len(layers) == count:
            _copy(clone, folder)
        else:
            _copy(clone, folder, "*.safetensors")
            facts["identical_tensors"] = _copy_layers(clone, folder, layers, count, reading.trust_remote_code)
        facts |= _place_vectors(folder, vectors, settings, corpora, reading, device)
        _accept(folder, str(clone), reading.trust_remote_code, layers if len(layers) < count else None)
        info = ModelInfo.read(folder)
        sizes = {"parameters": info.parameters, "bytes": info.weight_bytes}
        after = {key: {**source.facts[key], "after": size} for key, size in sizes.items()}
        inputs = {**source.inputs, "clone": directory_digest(clone)}
        made_by = {**source.made_by, "student": settings.model_dump(mode="json")}
        seal_directory(folder, Manifest("clone", made_by, inputs, {**source.facts, **after, "reduction": facts}))
    _LOG.info("%s parameters, layers %s, %d dimensions", f"{info.parameters:,}", facts["layers"], info.dimension)


def _kept_layers(
    clone: Path,
    settings: StudentSettings,
    count: int,
    corpora: Mapping[str, Path],
    reading: TeacherSettings,
    device: str,
) -> tuple[list[int], list[LeftOut]]:
    """The layers that are left and, where that is how they are found, those left out one by one."""
    layers = chosen_layers(settings, count)
    if not (settings.tries_layers and isinstance(settings.layers, int)):
        return layers, []
    return choose_layers(clone, settings.layers, LayerTensors.read(clone, count), corpora, reading, device)


def _copy(clone: Path, folder: Path, *left_out: str) -> None:
    """Copy a clone's files but those of some patterns, and what was sealed with them."""
    ignored = shutil.ignore_patterns(MANIFEST_NAME, SNAKEMAKE_MARK, *left_out)
    shutil.copytree(clone, folder, dirs_exist_ok=True, ignore=ignored)


def _copy_layers(clone: Path, folder: Path, layers: Sequence[int], count: int, trust_remote_code: bool) -> int:
    """Copy the clone's weights with these layers alone, and configure them; returns the number of tensors."""
    names = LayerTensors.read(clone, count).renamed(layers)
    for file in weight_files(clone):
        target = folder / file.relative_to(clone)
        copy_tensors(file, target, names)
        before, after = tensor_digests(file), tensor_digests(target)
        if {names[name]: digest for name, digest in before.items() if name in names} != after:
            raise RuntimeError(f"{target}: a tensor changed in copying")
    for index in folder.rglob("model.safetensors.index.json"):
        update_index(index, names)
    config = reduced_config(load_json_object(folder / "config.json"), layers, _layer_types(folder, trust_remote_code))
    (folder / "config.json").write_bytes(format_json(config))
    return len(names)


def _layer_types(folder: Path, trust_remote_code: bool) -> Sequence[str] | None:
    """The kind of attention of each layer, as the library understands the configuration."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=trust_remote_code
    ).get_text_config()
    types: Sequence[str] | None = getattr(config, "layer_types", None)
    return types


def _place_vectors(
    folder: Path,
    vectors: Mapping[str, Sequence[Path]],
    settings: StudentSettings,
    corpora: Mapping[str, Path],
    reading: TeacherSettings,
    device: str,
) -> dict[str, Any]:
    """Add the module that gives shorter vectors, or those of the teacher, if there is to be one; returns the facts about it."""
    weights, facts = _shortened(folder, vectors, settings)
    if settings.model is not None:
        fitted, cosine = fit_map(folder, corpora, vectors, reading, weights, device)
        append_projection(folder, fitted.weights, stored_dtype(folder), fitted.bias)
        if weights is not None:
            write_projection(folder, weights)
        return {**facts, "mapped": round(cosine, 6)}
    if weights is not None:
        append_projection(folder, weights, stored_dtype(folder))
    return facts


def _shortened(
    folder: Path, vectors: Mapping[str, Sequence[Path]], settings: StudentSettings
) -> tuple[NDArray[np.float32] | None, dict[str, Any]]:
    """The projection that shortens the teacher's vectors, if they are shortened, and the facts about it."""
    if settings.dimensions is None:
        return None, {"dimensions": None, "retained": None}
    stores = [VectorStore.open(shards, "train") for shards in vectors.values()]
    similarity = Similarity(ModelInfo.read(folder).similarity)
    projection = shorten(stores, settings.dimensions, compares_length=similarity.compares_length)
    errors = {"components": round(projection.components_error, 6), "fitted": round(projection.error, 6)}
    facts = {"dimensions": settings.dimensions, "retained": round(projection.retained, 6), "cosine_error": errors}
    return projection.weights, facts


def _accept(folder: Path, name: str, trust_remote_code: bool, layers: Sequence[int] | None) -> None:
    """Refuse what is left if it is no whole model: in some architectures the first layer differs from the others."""
    try:
        accept_teacher(folder, name, trust_remote_code=trust_remote_code)
    except ConfigError as error:
        if layers is None:
            raise
        raise ConfigError("student.layers", f"the layers {layers} do not form a model: {error}") from error
