"""An estimate of how long the teacher's vectors will take and what they will cost: ``make estimate``.

Passages follow from the quotas. The tokens of a language are known once it has been counted. Passages of other languages
are taken to be as long as those, and where no language has been counted, as long as ``corpus.chunk_tokens`` allows. The
rate is given, or that of the jobs that are finished.
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
from langtailor.config.vectors import job_folder
from langtailor.errors import LangtailorError
from langtailor.planning.configuration import read_settings
from langtailor.progress import clock
from langtailor.storage.tables import COUNTS, read_table_manifest
from langtailor.vectors.store import VectorShard

_LOG = logging.getLogger("langtailor")


@dataclass(frozen=True)
class Job:
    """A job of vectors as it is planned.

    Attributes:
        number: its number.
        passages: passages that the quotas give its shards.
        tokens: tokens that these are expected to have.
        counted: how many of the passages are of languages that have been counted.
    """

    number: int
    passages: int
    tokens: float
    counted: int


@dataclass(frozen=True)
class Work:
    """What is left to embed.

    Attributes:
        pending: jobs that are not finished, the one with the most tokens first.
        done: number of those that are.
        rates: tokens per second of each finished job that was timed.
    """

    pending: tuple[Job, ...]
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
        Job(
            number,
            sum(shard.passages for shard in shards),
            sum(shard.passages * mean.get(shard.lang, fallback) for shard in shards),
            sum(shard.passages for shard in shards if shard.lang in mean),
        )
        for number, shards in enumerate(settings.vector_jobs)
    ]
    existing = [job for job in planned if _vectors(settings, job).is_dir()]
    pending = [job for job in planned if job not in existing]
    rates = tuple(rate for job in existing for rate in _rate(settings, job))
    return Work(tuple(sorted(pending, key=lambda job: -job.tokens)), len(existing), rates)


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
        rate: tokens per second of one worker; ``None`` takes the median of the finished jobs.
        workers: jobs at a time.
        price: of one worker for an hour.

    Raises:
        LangtailorError: no rate is given and no finished job was timed.
    """
    passages = sum(job.passages for job in work.pending)
    planned = len(work.pending) + work.done
    lines = [f"{planned:,} jobs of teacher vectors, {work.done:,} of them finished; {passages:,} passages left"]
    if not work.pending:
        return lines
    tokens = sum(job.tokens for job in work.pending)
    counted = sum(job.counted for job in work.pending) / passages
    basis = f"from the counts of {100 * counted:.0f} % of the passages" if counted else "at most: none is counted yet"
    lines.append(f"{tokens:,.0f} tokens left ({basis}), {work.pending[0].tokens:,.0f} of them in the longest job")
    if rate is None and not work.rates:
        raise LangtailorError("no finished job was timed: give --rate, the tokens per second of one worker")
    pace = statistics.median(work.rates) if rate is None else rate
    seconds = makespan((job.tokens / pace for job in work.pending), workers)
    apart = seconds * workers * pace / tokens - 1
    lines.append(
        f"{clock(seconds)} on {workers} at a time with {pace:,.0f} tokens/s each, {100 * apart:.1f} % over an even split"
    )
    if price is not None:
        lines.append(f"costs {price * workers * seconds / 3_600:,.2f} at {price:,.2f} per hour and worker")
    return lines


def _vectors(settings: Settings, job: Job) -> Path:
    return settings.root / "vectors" / job_folder(job.number)


def _rate(settings: Settings, job: Job) -> list[float]:
    """Tokens per second of a finished job, if it was timed: loading the teacher counts, too.

    If published vectors are used, a job's time says nothing about the teacher.
    """
    if settings.vectors.source is not None:
        return []
    times = settings.root / "benchmarks" / "teacher_vectors" / f"{job_folder(job.number)}.tsv"
    shards = sorted(_vectors(settings, job).rglob("*.arrow"))
    tokens = sum(VectorShard.open(path, verify=False).manifest.facts["tokens"] for path in shards)
    if not times.is_file() or not tokens:
        return []
    with times.open(newline="", encoding="utf-8") as stream:
        return [tokens / float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")]


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} must be more than 0")
    return value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Estimate how long the teacher's vectors of a run will take.")
    parser.add_argument("--configfile", type=Path, required=True, help="the run's configuration")
    parser.add_argument(
        "--rate", type=_positive, help="tokens per second of one worker; else that of the finished jobs"
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
