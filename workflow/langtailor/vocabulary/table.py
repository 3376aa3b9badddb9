"""A layout as the rows of ``vocabulary/{variant}.parquet`` and back.

The table is the whole contract between choosing tokens and writing them. Besides ids and reasons it contains what makes
a graft reachable (``merge``, ``score``), so that the tokenizer is written from it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from langtailor.errors import CertificateError
from langtailor.storage.tables import VOCABULARY
from langtailor.surgery.base import Graft, Layout, Origin
from langtailor.surgery.spec import assert_bijection


def layout_to_table(
    layout: Layout, counts: NDArray[np.int64] | Sequence[int], origins: Sequence[Origin], reasons: Sequence[str]
) -> pa.Table:
    """Rows of the vocabulary table (:data:`langtailor.storage.tables.VOCABULARY`), one a new id, in order.

    Args:
        layout: the new vocabulary.
        counts: how often each token occurs, by new id; shape (V,).
        origins: by new id, why a token was chosen; ``padding`` for exactly the layout's padding.
        reasons: by new id, the same in words.

    Raises:
        ValueError: the lengths differ, or ``origins`` and the layout disagree about padding.
    """
    padding = frozenset(token for token, origin in zip(layout.tokens, origins, strict=True) if origin == "padding")
    if padding != layout.padding:
        raise ValueError("origins and layout disagree about which tokens are padding")
    grafts = [layout.grafts.get(token) for token in layout.tokens]
    merges = [list(graft.merge) if graft is not None and graft.merge is not None else None for graft in grafts]
    columns = {
        "token": layout.tokens,
        "new_id": np.arange(len(layout), dtype=np.int32),
        "teacher_id": pa.array(layout.teacher_ids, pa.int32(), mask=layout.teacher_ids < 0),
        "count": np.asarray(counts, np.int64),
        "origin": origins,
        "reason": reasons,
        "merge": merges,
        "score": [None if graft is None else graft.score for graft in grafts],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in VOCABULARY], schema=VOCABULARY)


def table_to_layout(table: pa.Table) -> Layout:
    """Inverse of :func:`layout_to_table`; counts of kept tokens, origins and reasons stay in the table.

    Raises:
        CertificateError: the ids are not 0 ... V-1 in order, each with a distinct token.
    """
    tokens = tuple(table["token"].to_pylist())
    ids = table["new_id"].to_pylist()
    assert_bijection(dict(zip(tokens, ids, strict=True)))
    if len(set(tokens)) != len(tokens) or ids != list(range(len(ids))):
        raise CertificateError("vocabulary table: the rows are not one a token in the order of `new_id`")
    teacher_ids = table["teacher_id"].combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    new = table.filter(pc.is_null(table["teacher_id"])).to_pylist()
    return Layout(
        tokens=tokens,
        teacher_ids=teacher_ids,
        grafts={row["token"]: _graft(row) for row in new if row["origin"] != "padding"},
        padding=frozenset(row["token"] for row in new if row["origin"] == "padding"),
    )


def _graft(row: Mapping[str, Any]) -> Graft:
    merge = None if row["merge"] is None else (row["merge"][0], row["merge"][1])
    return Graft(row["token"], row["count"], merge, row["score"], row["origin"])
