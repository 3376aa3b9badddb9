"""The new embedding table, side by side: langtailor's remap, ``transformer-cloner``'s per-token loop, a plain copy.

All sides make the same table from the same mapping, in alternating rounds: kept tokens take their row, grafted ones the
mean of their pieces' rows. The pieces are drawn as text has them, few of them often (Zipf). ``loop`` calls the method
``_map_single_embedding`` of ``transformer-cloner`` for every token (left out where the package is not installed);
``copy`` is ``copy_`` of the finished table, the floor that memory sets. ``compose`` is what langtailor needs besides to
make the mapping::

    PYTHONPATH=workflow python benchmarks/bench_remap.py --out benchmarks/results/remap.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from langtailor.config import InitialisationSettings
from langtailor.initialisation import Mapping, compose
from langtailor.surgery.base import Ids

_LOG = logging.getLogger("langtailor")
_PEER = "transformer-cloner"
_SEED = 7
_METHODS = ("mean", "length-weighted", "norm-matched", "similarity")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _options()
    results = [_compare(options, getattr(torch, dtype)) for dtype in options.dtypes]
    report = {
        "benchmark": "remap",
        "seed": _SEED,
        "sizes": {key: getattr(options, key) for key in ("teacher_rows", "rows", "grafts", "width")},
        "repeats": options.repeats,
        "peer": _peer_version(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "results": results,
        "compose_seconds": _compose_seconds(options),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for result in results:
        _LOG.info(
            "%s: %s x the loop, %.2f of a copy's time", result["dtype"], result["times_loop"], result["share_of_copy"]
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher-rows", type=int, default=262_144, help="rows of the teacher's table")
    parser.add_argument("--rows", type=int, default=131_072, help="rows of the new table")
    parser.add_argument("--grafts", type=int, default=64_000, help="how many of them are new tokens")
    parser.add_argument("--width", type=int, default=768, help="length of a row")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side")
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"], help="precisions of the table")
    parser.add_argument("--methods", nargs="*", default=_METHODS[:3], choices=_METHODS, help="mappings that are timed")
    parser.add_argument("--out", type=Path, default=Path("remap.json"), help="where the figures go")
    return parser.parse_args()


def _vocabulary(options: argparse.Namespace) -> tuple[Ids, list[tuple[int, ...]]]:
    """Teacher ids of the new rows, -1 for grafts, and the pieces of each graft."""
    draw = np.random.default_rng(_SEED)
    kept = np.sort(draw.choice(options.teacher_rows, options.rows - options.grafts, replace=False)).astype(np.int32)
    lengths = draw.integers(2, 6, options.grafts)
    pieces = [tuple(np.minimum(draw.zipf(1.2, n), options.teacher_rows - 1).tolist()) for n in lengths]
    return np.concatenate([kept, np.full(options.grafts, -1, np.int32)]), pieces


def _table(options: argparse.Namespace, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(options.teacher_rows, options.width, generator=generator).to(dtype)


def _mapping(options: argparse.Namespace, table: torch.Tensor, method: str = "mean") -> Mapping:
    teacher_ids, pieces = _vocabulary(options)
    lengths = np.ones(len(table), np.int64)
    settings = InitialisationSettings(method=method)
    return compose(teacher_ids, pieces, lengths, np.flatnonzero(teacher_ids >= 0), table, settings)


def _compare(options: argparse.Namespace, dtype: torch.dtype) -> dict[str, Any]:
    table = _table(options, dtype)
    mapping = _mapping(options, table)
    finished = mapping.apply(table)
    sides: dict[str, Callable[[], torch.Tensor]] = {
        "langtailor": lambda: mapping.apply(table),
        "copy": lambda: torch.empty_like(finished).copy_(finished),
    }
    if _peer_version():
        sides["loop"] = _loop(table, np.split(mapping.teacher_ids, mapping.offsets[1:-1]))
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(options.repeats):
        for side, make in sides.items():
            begin = time.perf_counter()
            made = make()
            seconds[side].append(time.perf_counter() - begin)
            _LOG.info("%s, turn %d, %s: %.3f s", dtype, turn + 1, side, seconds[side][-1])
            # The peer averages in the table's own precision.
            torch.testing.assert_close(made, finished, rtol=1.6e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-2)
            del made
    median = {side: statistics.median(times) for side, times in seconds.items()}
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "seconds": {side: [round(s, 4) for s in times] for side, times in seconds.items()},
        "times_loop": round(median["loop"] / median["langtailor"], 1) if "loop" in median else None,
        "share_of_copy": round(median["langtailor"] / median["copy"], 2),
    }


def _loop(table: torch.Tensor, rows: Sequence[Ids]) -> Callable[[], torch.Tensor]:
    """The peer's loop over all tokens, with its own method, on a model of nothing but a table."""
    from transformer_cloner import EmbeddingStrategy, TransformerCloner

    def model(weight: torch.Tensor) -> torch.nn.Module:
        outer, inner = torch.nn.Module(), torch.nn.Module()
        inner.embed_tokens = torch.nn.Embedding.from_pretrained(weight, freeze=False)
        outer.model = inner
        return outer

    cloner = TransformerCloner.__new__(TransformerCloner)
    cloner.org_model = model(table)
    ids = [row.tolist() for row in rows]

    def make() -> torch.Tensor:
        new = torch.empty(len(ids), table.shape[1], dtype=table.dtype)
        target = model(new)
        for row, pieces in enumerate(ids):
            cloner._map_single_embedding(target, row, pieces, EmbeddingStrategy.MEAN)
        return new

    return make


def _peer_version() -> str | None:
    try:
        return importlib.metadata.version(_PEER)
    except importlib.metadata.PackageNotFoundError:
        return None


def _compose_seconds(options: argparse.Namespace) -> dict[str, float]:
    table, seconds = _table(options, torch.float32), {}
    for method in options.methods:
        times = []
        for _ in range(options.repeats if method != "similarity" else 1):
            begin = time.perf_counter()
            _mapping(options, table, method)
            times.append(time.perf_counter() - begin)
        seconds[method] = round(statistics.median(times), 3)
    return seconds


if __name__ == "__main__":
    main()
