"""Vectors on disk, read in shuffled batches of 256: langtailor's store and a Parquet list column through ``datasets``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from measure import SEED, Row, alternate, parser, start, write
from numpy.typing import NDArray

from langtailor.storage.artifacts import Manifest
from langtailor.vectors.store import VectorStore, write_shard

_BATCH = 256
Vectors = NDArray[np.float32]


def main() -> None:
    made = parser(__doc__, data=False)
    made.add_argument("--rows", type=int, default=40_000, help="stored vectors")
    made.add_argument("--width", type=int, default=384, help="their dimension")
    options = made.parse_args()
    start()
    draw = np.random.default_rng(SEED)
    vectors = draw.standard_normal((options.rows, options.width)).astype(np.float32)
    order = draw.permutation(options.rows)
    batches = [order[at : at + _BATCH] for at in range(0, len(order), _BATCH)]

    def check(made: Mapping[str, list[Vectors]]) -> None:
        for found in made.values():
            np.testing.assert_allclose(np.concatenate(found), vectors[order], rtol=1e-3, atol=1e-4)

    with tempfile.TemporaryDirectory() as folder:
        shards, column = _written(vectors, Path(folder))
        store, arrays = VectorStore.open(shards), column.with_format("numpy")
        sides: dict[str, Callable[[], list[Vectors]]] = {
            "langtailor": lambda: [store.take(rows) for rows in batches],
            "numpy format": lambda: [np.asarray(arrays[rows.tolist()]["vector"], np.float32) for rows in batches],
            "default format": lambda: [np.asarray(column[rows.tolist()]["vector"], np.float32) for rows in batches],
        }
        timed = alternate(sides, options.turns, check, warm_up=True)
        share = sum(path.stat().st_size for path in shards) / vectors.nbytes
        halved = sum(shard.vectors.nbytes for shard in store.shards) / vectors.nbytes
    note = (
        f"{options.rows:,} x {options.width}, {options.rows / timed.seconds('langtailor'):,.0f} rows/s; peer in its numpy "
        f"format, in its default one {timed.times('default format', 'langtailor'):.0f} x"
    )
    rows = [
        Row(
            "vectors on disk: shuffled reading",
            "Parquet list column through datasets",
            timed.times("numpy format", "langtailor"),
            10,
            note=note,
        ),
        Row("vectors on disk: bytes", "float32", halved, 0.5, True, f"with ids, splits and digests {share:.3f}"),
    ]
    write(options.out, rows, timed.to_json())


def _written(vectors: Vectors, folder: Path) -> tuple[list[Path], Any]:
    shards = []
    for number, part in enumerate(np.array_split(vectors, 2)):
        shards.append(folder / f"{number}.arrow")
        names = pa.array([f"{number}-{row}" for row in range(len(part))])
        columns = (names, pa.array(["train"] * len(part)), pa.array([b"0" * 16] * len(part), pa.binary(16)))
        write_shard(shards[-1], *columns, part.astype(np.float16), Manifest("vectors", inputs={"teacher": "none"}))
    parquet = folder / "vectors.parquet"
    Dataset.from_dict({"vector": list(vectors)}).to_parquet(parquet)
    return shards, Dataset.from_parquet(str(parquet), cache_dir=str(folder / "cache"))


if __name__ == "__main__":
    main()
