"""An estimate of how long the teacher's vectors will take and what they will cost: ``make estimate``.

Passages follow from the quotas. The tokens of a language are known once it has been counted. Passages of other languages
are taken to be as long as those, and where no language has been counted, as long as ``corpus.chunk_tokens`` allows. The
rate is given, or that of the shards that exist.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import logging
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from langtailor.config.run import Settings
from langtailor.errors import LangtailorError
from langtailor.planning.configuration import read_settings
from langtailor.progress import clock
from langtailor.storage.tables import COUNTS, read_table_manifest
from langtailor.vectors.store import VectorShard

_LOG = logging.getLogger("langtailor")


@dataclass(frozen=True)
class Shard:
    """A shard as it is planned.

    Attributes:
        lang: its language.
        number: its number.
        passages: passages that the quotas give it.
        tokens: tokens that these are expected to have.
        counted: whether that is by the counts of its language.
    """

    lang: str
    number: int
    passages: int
    tokens: float
    counted: bool

    @property
    def name(self) -> str:
        """Its place among the vectors."""
        return f"{self.lang}/{self.number:05d}"


@dataclass(frozen=True)
class Work:
    """What is left to embed.

    Attributes:
        pending: shards that do not exist, the one with the most tokens first.
        done: number of those that do.
        rates: tokens per second of each shard that exists and was timed.
    """

    pending: tuple[Shard, ...]
    done: int
    rates: tuple[float, ...]


def read_work(settings: Settings) -> Work:
    """What is left to embed of a run, by its configuration and the files that it has made.

    Raises:
        ArtifactError: one of the files is damaged.
    """
    mean = passage_tokens(settings)
    fallback = statistics.fmean(mean.values()) if mean else float(settings.corpus.chunk_tokens)
    planned = [
        Shard(lang, number, passages, passages * mean.get(lang, fallback), lang in mean)
        for lang in settings.corpus.languages
        for number, passages in enumerate(settings.shards(lang))
    ]
    existing = [shard for shard in planned if _vectors(settings, shard).is_file()]
    pending = [shard for shard in planned if shard not in existing]
    rates = tuple(rate for shard in existing for rate in _rate(settings, shard))
    return Work(tuple(sorted(pending, key=lambda shard: -shard.tokens)), len(existing), rates)


def passage_tokens(settings: Settings) -> dict[str, float]:
    """Tokens of a passage on average, by language, of those whose training split has been counted."""
    counted = {lang: settings.root / "counts" / f"{lang}.parquet" for lang in settings.corpus.languages}
    facts = {
        lang: read_table_manifest(path, "counts", COUNTS).facts for lang, path in counted.items() if path.is_file()
    }
    return {lang: fact["tokens"] / fact["passages"] for lang, fact in facts.items()}


def makespan(jobs: Iterable[float], workers: int) -> float:
    """When the last of several workers ends that each take the next job as soon as they are free.

    Args:
        jobs: how long each takes, in the order in which they are handed out.
        workers: their number.
    """
    ends = [0.0] * workers
    for job in jobs:
        heapq.heapreplace(ends, ends[0] + job)
    return max(ends)


def explain(work: Work, rate: float | None, workers: int, price: float | None) -> list[str]:
    """The estimate in lines for people.

    Args:
        work: what is left.
        rate: tokens per second of one worker; ``None`` takes the median of the shards that exist.
        workers: jobs at a time.
        price: of one worker for an hour.

    Raises:
        LangtailorError: no rate is given and no shard was timed.
    """
    passages = sum(shard.passages for shard in work.pending)
    planned = len(work.pending) + work.done
    lines = [f"{planned:,} shards of teacher vectors, {work.done:,} of them finished; {passages:,} passages left"]
    if not work.pending:
        return lines
    tokens = sum(shard.tokens for shard in work.pending)
    counted = sum(shard.passages for shard in work.pending if shard.counted) / passages
    basis = f"from the counts of {100 * counted:.0f} % of the passages" if counted else "at most: none is counted yet"
    longest = work.pending[0]
    lines.append(f"{tokens:,.0f} tokens left ({basis}), {longest.tokens:,.0f} of them in the longest, {longest.name}")
    if rate is None and not work.rates:
        raise LangtailorError("no finished shard was timed: give --rate, the tokens per second of one worker")
    pace = statistics.median(work.rates) if rate is None else rate
    seconds = makespan((shard.tokens / pace for shard in work.pending), workers)
    apart = seconds * workers * pace / tokens - 1
    lines.append(
        f"{clock(seconds)} on {workers} at a time with {pace:,.0f} tokens/s each, {100 * apart:.1f} % over an even split"
    )
    if price is not None:
        lines.append(f"costs {price * workers * seconds / 3_600:,.2f} at {price:,.2f} an hour for each")
    return lines


def _vectors(settings: Settings, shard: Shard) -> Path:
    return settings.root / "vectors" / f"{shard.name}.arrow"


def _rate(settings: Settings, shard: Shard) -> list[float]:
    """Tokens per second of a shard that exists, if it was timed: loading the teacher counts, too."""
    times = settings.root / "benchmarks" / "teacher_vectors" / f"{shard.name}.tsv"
    tokens = VectorShard.open(_vectors(settings, shard), verify=False).manifest.facts["tokens"]
    if not times.is_file() or not tokens:
        return []
    with times.open(newline="", encoding="utf-8") as stream:
        return [tokens / float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")]


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Estimate how long the teacher's vectors of a run will take.")
    parser.add_argument("--configfile", type=Path, required=True, help="the run's configuration")
    parser.add_argument(
        "--rate", type=_positive, help="tokens per second of one worker; else that of the finished shards"
    )
    parser.add_argument("--workers", type=int, default=1, choices=range(1, 10_001), metavar="N", help="jobs at a time")
    parser.add_argument("--price", type=_positive, help="price of one worker for an hour")
    return parser.parse_args()


def main() -> None:
    """Log the estimate of the run that the options name."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        work = read_work(read_settings(options.configfile))
        for line in explain(work, options.rate, options.workers, options.price):
            _LOG.info("%s", line)
    except LangtailorError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
