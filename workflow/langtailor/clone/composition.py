"""Which teacher rows each row of the new table is composed of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from langtailor.clone.alignment import Links
from langtailor.clone.rows import RowMapping, Rows, compose, draw
from langtailor.config.initialisation import InitialisationSettings
from langtailor.errors import LangtailorError
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest
from langtailor.surgery.base import Family, Layout
from langtailor.surgery.segmentation import segment


def map_rows(
    table: pa.Table,
    layout: Layout,
    family: Family,
    embeddings: torch.Tensor,
    settings: InitialisationSettings,
    links: Links | None,
) -> RowMapping:
    """The mapping of a vocabulary by the configured method.

    Args:
        table: the vocabulary table.
        layout: the same as a layout.
        family: the teacher's tokenizer.
        embeddings: the teacher's input embeddings, shape (teacher rows, d).
        settings: the method and its parameters.
        links: what new tokens translate to, for ``aligned`` and ``learned``.

    Raises:
        LangtailorError: a new token has no piece in the teacher, or the method needs kept tokens and there are none.
    """
    # EmbeddingGemma's <image_soft_token> has an id one past the table. As for padding, there is nothing to copy.
    teacher_ids = np.where(layout.teacher_ids < len(embeddings), layout.teacher_ids, np.int32(-1))
    grafts = [token for token in layout.tokens if token in layout.grafts]
    pieces = dict(zip(grafts, segment(family.spec, grafts), strict=True))
    if without_pieces := [token for token in grafts if not pieces[token]]:
        raise LangtailorError(f"the teacher has no piece for the new token {without_pieces[0]!r}; choose another donor")
    special = np.array([origin == "special" for origin in table["origin"].to_pylist()])
    ordinary = np.flatnonzero((teacher_ids >= 0) & ~special)
    if not len(ordinary) and settings.method in ("norm-matched", "similarity", "aligned", "learned"):
        raise LangtailorError(f"initialisation.method {settings.method!r} needs kept tokens besides the special ones")
    without_teacher_id = [layout.tokens[row] for row in np.flatnonzero(teacher_ids < 0)]
    return compose(
        teacher_ids,
        [pieces.get(token, ()) for token in without_teacher_id],
        _piece_lengths(family, {i for ids in pieces.values() for i in ids}, len(embeddings)),
        ordinary,
        embeddings,
        settings,
        links,
    )


def _piece_lengths(family: Family, ids: set[int], rows: int) -> NDArray[np.int64]:
    """Characters of these teacher tokens without the space before a word, 1 for a part of one; by teacher id."""
    pieces = sorted(ids)
    surfaces = family.surfaces([family.tokens[i] or "" for i in pieces])
    lengths = np.ones(rows, np.int64)
    lengths[pieces] = [max(len((surface or "").strip()), 1) for surface in surfaces]
    return lengths


def new_table(mapping: RowMapping, random_rows: Rows, seed: int, old: torch.Tensor) -> torch.Tensor:
    """A table with a row per token, made from the teacher's.

    Args:
        mapping: how each row is composed.
        random_rows: new ids of rows that are drawn at random instead.
        seed: seeds the draw.
        old: the teacher's table, shape (teacher rows,) or (teacher rows, d).

    Returns:
        Shape (V,) or (V, d), in the teacher's dtype.
    """
    new = mapping.apply(old)
    if len(random_rows):
        draw(new, random_rows, old, seed)
    return new


def write_mapping(path: Path, mapping: RowMapping, new_rows: Rows) -> None:
    """Write the mapping; its manifest has the ids of the new rows as ranges ``[first, last]``."""
    offsets = pa.array(mapping.offsets.astype(np.int32))
    columns = [
        pa.array(np.arange(len(mapping), dtype=np.int32)),
        pa.ListArray.from_arrays(offsets, pa.array(mapping.teacher_ids)),
        pa.ListArray.from_arrays(offsets, pa.array(mapping.weights)),
    ]
    runs = np.split(new_rows, np.flatnonzero(np.diff(new_rows) > 1) + 1) if len(new_rows) else []
    facts = {"new_rows": [[int(run[0]), int(run[-1])] for run in runs]}
    tables.write_table(path, pa.table(columns, schema=tables.MAPPING), Manifest("mapping", facts=facts))
