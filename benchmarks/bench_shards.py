"""How far workers end apart that embed the shards of the 40-language recipe, beside a perfect split by tokens.

No teacher runs: a shard takes as long as it has tokens, and a worker takes the next shard when it is free. Lengths are
drawn with replacement, to the recipe's quotas, from the embedded sample's lines (UTF-8 bytes over 4), and stretched to
passages of 400 tokens on average. As an encyclopedia's languages differ in the length of their articles and the sample's
do not, each language is stretched by a factor of its own, log-normal with ``--spread``; no passage is longer than the
recipe allows. Orders:

- ``any``: the worst of ten random orders of shards of equal passages;
- ``passages``: the most passages first, ties at random: what the rule's priority says alone;
- ``scheduled``: ties by the size of the corpus: what the rule's priority and the profile's scheduler do together;
- ``known``: the most tokens first, as if each shard's were known;
- ``equal``: as ``scheduled``, of shards with as many passages of each language as make equal tokens.

Figures are the time of the last worker over that of a perfect split, the mean and the largest over the draws::

    PYTHONPATH=workflow python benchmarks/bench_shards.py --out shards.json
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from langtailor.config.run import Settings
from langtailor.planning.configuration import load_settings
from langtailor.planning.estimate import makespan

_LOG = logging.getLogger("langtailor")
ROOT = Path(__file__).resolve().parents[1]
_ORDERS = 10
#: Tokens of a passage on average.
_MEAN = 400.0


@dataclass(frozen=True)
class Shard:
    """One shard.

    Attributes:
        passages: number of its passages.
        tokens: all tokens of them.
        corpus: size of its language's corpus.
    """

    passages: int
    tokens: float
    corpus: float


def main() -> None:
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = load_settings(yaml.safe_load((ROOT / "config" / "turkish-200m.yaml").read_text(encoding="utf-8")))
    texts = _sample_lengths()
    results = []
    for spread in options.spread:
        draws = [list(_draw(settings, texts, spread, np.random.default_rng(seed))) for seed in range(options.draws)]
        for workers in options.workers:
            ratios = [
                _ratios(lengths, settings.vectors.shard_passages, workers, seed) for seed, lengths in enumerate(draws)
            ]
            figures = {name: [draw[name] for draw in ratios] for name in ratios[0]}
            summary = {name: {"mean": _round(np.mean(f)), "largest": _round(max(f))} for name, f in figures.items()}
            results.append({"spread": spread, "workers": workers, "over_perfect": summary})
            _LOG.info("spread %.1f, %2d workers: %s", spread, workers, summary)
    report = {"benchmark": "shards", "draws": options.draws, "results": results}
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--spread", type=float, nargs="*", default=[0.0, 0.3, 0.6, 0.9], help="of the languages' mean lengths"
    )
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8, 16], help="how many at a time")
    parser.add_argument("--draws", type=int, default=20, help="corpora that are drawn")
    parser.add_argument("--out", type=Path, default=Path("shards.json"), help="where the figures go")
    return parser.parse_args()


def _sample_lengths() -> list[NDArray[np.float64]]:
    files = sorted((ROOT / "workflow" / "langtailor" / "corpus" / "sample").glob("*.txt"))
    return [np.array([len(line) / 4 for line in file.read_bytes().splitlines() if line]) for file in files]


def _draw(
    settings: Settings, texts: list[NDArray[np.float64]], spread: float, random: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Tokens of each passage of each language; languages without a sample take turns with those that there are."""
    for index, lang in enumerate(settings.corpus.languages):
        lengths = random.choice(texts[index % len(texts)], settings.quotas(lang).total)
        yield np.minimum(lengths * _stretch(texts) * np.exp(random.normal(0, spread)), settings.corpus.chunk_tokens)


def _stretch(texts: list[NDArray[np.float64]]) -> float:
    return _MEAN / float(np.concatenate(texts).mean())


def _cut(lengths: NDArray[np.float64], passages: int) -> list[Shard]:
    parts = [lengths[start : start + passages] for start in range(0, len(lengths), passages)]
    return [Shard(len(part), float(part.sum()), float(lengths.sum())) for part in parts]


def _ratios(corpora: list[NDArray[np.float64]], passages: int, workers: int, seed: int) -> dict[str, float]:
    """Time of the last worker over that of a perfect split, by order."""
    random = np.random.default_rng(seed)
    shards = [shard for lengths in corpora for shard in _cut(lengths, passages)]
    total = sum(shard.tokens for shard in shards)
    mean = total / sum(map(len, corpora))
    equal = [s for lengths in corpora for s in _cut(lengths, max(1, round(passages * mean / lengths.mean())))]

    def scheduled(some: list[Shard]) -> list[Shard]:
        return sorted(_shuffled(some, random), key=lambda shard: (-shard.passages, -shard.corpus))

    def last(order: list[Shard]) -> float:
        return makespan((shard.tokens for shard in order), workers) * workers / total

    return {
        "any": max(last(_shuffled(shards, random)) for _ in range(_ORDERS)),
        "passages": last(sorted(_shuffled(shards, random), key=lambda shard: -shard.passages)),
        "scheduled": last(scheduled(shards)),
        "known": last(sorted(shards, key=lambda shard: -shard.tokens)),
        "equal": last(scheduled(equal)),
    }


def _shuffled(shards: list[Shard], random: np.random.Generator) -> list[Shard]:
    return [shards[index] for index in random.permutation(len(shards))]


def _round(value: Any) -> float:
    return round(float(value), 4)


if __name__ == "__main__":
    main()
