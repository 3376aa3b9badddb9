"""How far workers end apart that embed the jobs of the 40-language recipe, beside a perfect split by tokens.

No teacher runs: a job takes as long as it has tokens, and a worker takes the next job when it is free, the one with the most
passages first, as the rule's priority says. Lengths are drawn with replacement, to the recipe's quotas, from the embedded
sample's lines (UTF-8 bytes over 4), and stretched to passages of 400 tokens on average. As an encyclopedia's languages
differ in the length of their articles and the sample's do not, each language is stretched by a factor of its own,
log-normal with ``--spread``; no passage is longer than the recipe allows. Starting a job, importing libraries and loading the
teacher, takes as long as ``--start`` tokens.

Figures are the time of the last worker over that of a perfect split without any start, the mean and the largest over the
draws, by ``vectors.passages_per_job``::

    PYTHONPATH=workflow python benchmarks/bench_shards.py --out shards.json
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from langtailor.config.run import Settings
from langtailor.config.vectors import Shard
from langtailor.planning.configuration import load_settings
from langtailor.planning.estimate import makespan

_LOG = logging.getLogger("langtailor")
ROOT = Path(__file__).resolve().parents[1]
#: Tokens of a passage on average.
_MEAN = 400.0


def main() -> None:
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = load_settings(yaml.safe_load((ROOT / "config" / "turkish-200m.yaml").read_text(encoding="utf-8")))
    texts = _sample_lengths()
    draws = [_draw(settings, texts, options.spread, np.random.default_rng(seed)) for seed in range(options.draws)]
    results = []
    for passages in options.passages:
        vectors = settings.vectors.model_copy(update={"passages_per_job": passages})
        jobs = settings.model_copy(update={"vectors": vectors}).vector_jobs
        for workers in options.workers:
            ratios = [_over_perfect(lengths, jobs, workers, options.start) for lengths in draws]
            figures = {"mean": round(float(np.mean(ratios)), 4), "largest": round(float(max(ratios)), 4)}
            results.append({"passages_per_job": passages, "jobs": len(jobs), "workers": workers, **figures})
            _LOG.info("%s", results[-1])
    report = {"benchmark": "shards", "spread": options.spread, "draws": options.draws, "results": results}
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spread", type=float, default=0.6, help="of the languages' mean lengths")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8, 16], help="how many at a time")
    parser.add_argument(
        "--passages", type=int, nargs="*", default=[10_000, 20_000, 60_000], help="vectors.passages_per_job"
    )
    parser.add_argument("--start", type=float, default=3e6, help="tokens that a worker encodes while a job starts")
    parser.add_argument("--draws", type=int, default=20, help="corpora that are drawn")
    parser.add_argument("--out", type=Path, default=Path("shards.json"), help="where the figures go")
    return parser.parse_args()


def _sample_lengths() -> list[NDArray[np.float64]]:
    files = sorted((ROOT / "workflow" / "langtailor" / "corpus" / "sample").glob("*.txt"))
    return [np.array([len(line) / 4 for line in file.read_bytes().splitlines() if line]) for file in files]


def _draw(
    settings: Settings, texts: list[NDArray[np.float64]], spread: float, random: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Tokens of each passage by language; languages without a sample take turns with those that there are."""
    drawn = {}
    for index, lang in enumerate(settings.corpus.languages):
        lengths = random.choice(texts[index % len(texts)], settings.quotas(lang).total)
        stretched = lengths * _stretch(texts) * np.exp(random.normal(0, spread))
        drawn[lang] = np.minimum(stretched, settings.corpus.chunk_tokens)
    return drawn


def _stretch(texts: list[NDArray[np.float64]]) -> float:
    return _MEAN / float(np.concatenate(texts).mean())


def _over_perfect(
    lengths: Mapping[str, NDArray[np.float64]], jobs: Sequence[Sequence[Shard]], workers: int, start: float
) -> float:
    """Time of the last worker over that of a perfect split."""
    total = sum(float(of_language.sum()) for of_language in lengths.values())
    order = sorted(jobs, key=lambda shards: -sum(shard.passages for shard in shards))
    tokens = (sum(lengths[s.lang][s.start : s.start + s.rows].sum() for s in shards) + start for shards in order)
    return makespan(tokens, workers) * workers / total


if __name__ == "__main__":
    main()
