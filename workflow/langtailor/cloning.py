"""The clone: the teacher with a new vocabulary.

The model is never instantiated. Tensors whose first dimension is the vocabulary are composed anew; every other tensor
and module is copied byte by byte, and the manifest records that it is identical.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from langtailor import tables
from langtailor.artifacts import (
    MANIFEST_NAME,
    Manifest,
    atomic_directory,
    directory_digest,
    read_manifest,
    seal_directory,
    sha256_file,
)
from langtailor.config import InitialisationSettings
from langtailor.errors import ArtifactError, LangtailorError
from langtailor.initialisation import Composition, compose, random_rows
from langtailor.surgery.base import Layout
from langtailor.surgery.layout_table import table_to_layout
from langtailor.surgery.registry import load_family
from langtailor.surgery.segmentation import segment
from langtailor.teacher import TeacherInfo, tensor_shapes, weight_files

_LOG = logging.getLogger("langtailor")
#: Last part of the input embeddings' names in the architectures that transformers knows.
_EMBEDDING_NAMES = (
    "word_embeddings.weight",
    "embed_tokens.weight",
    "tok_embeddings.weight",
    "wte.weight",
    "shared.weight",
)
_INDEX = "model.safetensors.index.json"
_NOT_COPIED = (MANIFEST_NAME, ".snakemake_timestamp", "README.md", "*.safetensors", _INDEX)
_NOT_TAKEN = (MANIFEST_NAME, ".snakemake_timestamp", "certificate.json")


@dataclass(frozen=True)
class VocabularyTensors:
    """Where a model keeps what has a row per token.

    Attributes:
        embedding: name of the input embeddings.
        names: names of all tensors whose first dimension is the vocabulary, the input embeddings among them.
    """

    embedding: str
    names: frozenset[str]


def clone_model(
    teacher: Path, tokenizer: Path, vocabulary: Path, settings: InitialisationSettings, seed: int, out: Path
) -> None:
    """Give the teacher a new vocabulary.

    Args:
        teacher: the teacher (kind ``teacher``).
        tokenizer: the new tokenizer (kind ``tokenizer``).
        vocabulary: the table that the tokenizer was written from.
        settings: how new rows are made.
        seed: seeds the ``random`` method.
        out: the clone (kind ``clone``): a sentence-transformers folder with ``mapping.parquet`` beside.

    Raises:
        ArtifactError: an input is damaged, or tokenizer and table do not belong together.
        LangtailorError: the model's vocabulary tensors cannot be told apart.
    """
    made_from = read_manifest(tokenizer, "tokenizer")
    read_manifest(teacher, "teacher")
    table, _ = tables.read_table(vocabulary, "vocabulary", tables.VOCABULARY)
    if made_from.inputs["vocabulary"] != sha256_file(vocabulary):
        raise ArtifactError(tokenizer, f"was not written from {vocabulary}")
    layout = table_to_layout(table)
    where = find_vocabulary_tensors(teacher)
    embeddings = _tensor(teacher, where.embedding)
    composition = _composition(teacher, layout, embeddings, settings)
    with atomic_directory(out) as folder:
        shutil.copytree(teacher, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        shutil.copytree(tokenizer, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_TAKEN))
        fresh = random_rows(layout, embeddings, seed) if settings.method == "random" else None
        identical = _rewrite_weights(teacher, folder, where, composition, layout, fresh)
        _rewrite_configs(folder, layout)
        _write_mapping(folder / "mapping.parquet", composition, settings)
        facts = _facts(teacher, folder, layout, where, composition, identical)
        seal_directory(
            folder,
            Manifest(
                "clone",
                made_by=settings.model_dump(mode="json") | {"seed": seed},
                inputs={"teacher": directory_digest(teacher), "tokenizer": directory_digest(tokenizer)},
                facts=facts,
            ),
        )
    _LOG.info(
        "clone: %s -> %s parameters, %s -> %s tokens; %d other tensors identical",
        *(f"{facts[key]:,}" for key in ("teacher_parameters", "parameters", "teacher_rows", "rows")),
        identical,
    )


def find_vocabulary_tensors(folder: Path) -> VocabularyTensors:
    """Find the tensors that have one row per token.

    Raises:
        LangtailorError: the input embeddings are not there or not the only candidates, or the vocabulary has as many
            entries as another dimension of the model.
    """
    rows = TeacherInfo.read(folder).vocabulary_size
    shapes = {name: shape for file in weight_files(folder) for name, shape in tensor_shapes(file).items()}
    names = frozenset(name for name, shape in shapes.items() if shape and shape[0] == rows)
    found = sorted(name for name in names if name.endswith(_EMBEDDING_NAMES))
    if len(found) != 1:
        raise LangtailorError(
            f"{folder}: expected one tensor of input embeddings with {rows:,} rows, found {found or 'none'}; "
            f"names that are known end in {', '.join(_EMBEDDING_NAMES)}"
        )
    others = {dimension for name, shape in shapes.items() if name not in names for dimension in shape}
    if rows in others:
        raise LangtailorError(
            f"{folder}: {rows:,} is also another dimension of the model, so rows cannot be told apart"
        )
    return VocabularyTensors(found[0], names)


def _composition(
    teacher: Path, layout: Layout, embeddings: torch.Tensor, settings: InitialisationSettings
) -> Composition:
    family = load_family(teacher)
    fresh = [token for token, i in zip(layout.tokens, layout.teacher_ids, strict=True) if i < 0]
    pieces = segment(family.spec, fresh)
    pieces = [() if token in layout.padding else ids for token, ids in zip(fresh, pieces, strict=True)]
    empty = [token for token, ids in zip(fresh, pieces, strict=True) if not ids and token not in layout.padding]
    if empty:
        # Text that the teacher has no piece for: the mean of all rows is the least that can be said of it.
        _LOG.warning("%d new tokens have no teacher piece (%s ...): they start at the mean row", len(empty), empty[0])
        everything = tuple(range(embeddings.shape[0]))
        pieces = [
            everything if not ids and token not in layout.padding else ids
            for token, ids in zip(fresh, pieces, strict=True)
        ]
    return compose(layout, pieces, _lengths(family.tokens, embeddings.shape[0]), embeddings, settings)


def _lengths(tokens: Any, rows: int) -> np.ndarray:
    lengths = np.ones(rows, dtype=np.int64)
    for index, token in enumerate(tokens):
        if token is not None:
            lengths[index] = len(token.removeprefix("##").lstrip("▁Ġ")) or 1
    return lengths


def _rewrite_weights(
    teacher: Path,
    folder: Path,
    where: VocabularyTensors,
    composition: Composition,
    layout: Layout,
    fresh: torch.Tensor | None,
) -> int:
    """Write every weight file anew; returns the number of tensors that were copied as they were."""
    identical, total = 0, 0
    for source in weight_files(teacher):
        target = folder / source.relative_to(teacher)
        target.parent.mkdir(parents=True, exist_ok=True)
        with safe_open(source, framework="pt") as stream:
            metadata, names = stream.metadata(), list(stream.keys())
            if not where.names.intersection(names):
                shutil.copyfile(source, target)
                identical += len(names)
                total += sum(_bytes(stream.get_tensor(name)) for name in names)
                continue
            tensors = {}
            for name in names:
                tensor = stream.get_tensor(name)
                if name in where.names:
                    tensor = _with_rows(composition.apply(tensor), layout, fresh if name == where.embedding else None)
                else:
                    identical += 1
                tensors[name] = tensor.contiguous()
                total += _bytes(tensor)
        save_file(tensors, target, metadata=metadata)
    if (teacher / _INDEX).is_file():
        index = json.loads((teacher / _INDEX).read_text(encoding="utf-8"))
        index.setdefault("metadata", {})["total_size"] = total
        _write_json(folder / _INDEX, index)
    return identical


def _with_rows(table: torch.Tensor, layout: Layout, fresh: torch.Tensor | None) -> torch.Tensor:
    if fresh is None:
        return table
    rows = [n for n, i in enumerate(layout.teacher_ids) if i < 0 and layout.tokens[n] not in layout.padding]
    table[torch.tensor(rows, dtype=torch.long)] = fresh.to(table.dtype)
    return table


def _rewrite_configs(folder: Path, layout: Layout) -> None:
    """Put the new number of tokens and the new ids of special tokens wherever a configuration names them."""
    new_ids = {int(old): new for new, old in enumerate(layout.teacher_ids) if old >= 0}
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        if path.is_file():
            config = json.loads(path.read_text(encoding="utf-8"))
            _write_json(path, _renumbered(config, new_ids, len(layout), name))


def _renumbered(config: Mapping[str, Any], new_ids: Mapping[int, int], size: int, place: str) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            changed[key] = _renumbered(value, new_ids, size, f"{place}:{key}")
        elif key == "vocab_size":
            changed[key] = size
        elif key.endswith(("_token_id", "_token_index")) and isinstance(value, int):
            changed[key] = _new_id(value, new_ids, f"{place}:{key}")
        elif key.endswith("_token_id") and isinstance(value, list):
            changed[key] = [new for old in value if (new := _new_id(old, new_ids, f"{place}:{key}")) is not None]
        else:
            changed[key] = value
    return changed


def _new_id(old: int, new_ids: Mapping[int, int], place: str) -> int | None:
    if old not in new_ids:
        _LOG.warning("%s named token %d, which the new vocabulary does not have; it is now null", place, old)
    return new_ids.get(old)


def _write_mapping(path: Path, composition: Composition, settings: InitialisationSettings) -> None:
    offsets = pa.array(composition.offsets.astype(np.int32))
    table = pa.table(
        [
            pa.array(np.arange(len(composition), dtype=np.int32)),
            pa.ListArray.from_arrays(offsets, pa.array(composition.teacher_ids)),
            pa.ListArray.from_arrays(offsets, pa.array(composition.weights)),
        ],
        schema=tables.MAPPING,
    )
    tables.write_table(path, table, Manifest("mapping", made_by=settings.model_dump(mode="json")))


def _facts(
    teacher: Path,
    folder: Path,
    layout: Layout,
    where: VocabularyTensors,
    composition: Composition,
    identical: int,
) -> dict[str, Any]:
    before, after = TeacherInfo.read(teacher), TeacherInfo.read(folder)
    norms = _tensor(folder, where.embedding).float().norm(dim=1).numpy()
    kept = layout.teacher_ids >= 0
    fresh = ~kept & (composition.lengths > 0)
    return {
        "teacher_parameters": before.parameters,
        "parameters": after.parameters,
        "teacher_bytes": before.weight_bytes,
        "bytes": after.weight_bytes,
        "teacher_rows": before.vocabulary_size,
        "rows": after.vocabulary_size,
        "embedding": where.embedding,
        "identical_tensors": identical,
        "kept_rows": int(kept.sum()),
        "new_rows": int(fresh.sum()),
        "kept_norm": round(float(norms[kept].mean()), 6),
        "new_norm": round(float(norms[fresh].mean()), 6) if fresh.any() else None,
    }


def _tensor(folder: Path, name: str) -> torch.Tensor:
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as stream:
            if name in stream.keys():  # noqa: SIM118 - a safetensors file is no mapping
                tensor: torch.Tensor = stream.get_tensor(name)
                return tensor
    raise ArtifactError(folder, f"has no tensor {name}")


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
