"""How long Snakemake takes to see what there is to do: a recipe's plan, and a finished run with nothing to do.

- ``plan``: ``snakemake -n`` of the 40-language recipe;
- ``nothing``: the finished small run of the tests, run again, beside an empty Snakefile with as many finished jobs. Their ratio
  is what the workflow adds to Snakemake's own floor.

The sides alternate; a first turn, which fills caches, does not count. Seconds are those of the wall and of the processor::

    PYTHONPATH=.:workflow python benchmarks/bench_plan.py --out plan.json
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.workflow.conftest import ROOT, Workflow

_LOG = logging.getLogger("langtailor")
EMPTY = """
rule all:
    input:
        expand("made/{{job}}", job=range({jobs})),


rule empty:
    output:
        "made/{{job}}",
    shell:
        "touch {{output}}"
"""


class Seconds(NamedTuple):
    """What a command took."""

    wall: float
    processor: float


def main() -> None:
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        small = options.small or Path(folder) / "small"
        jobs = _finish_small(small)
        empty = _finish_empty(Path(folder) / "empty", jobs)
        taken = _measure(_sides(small, empty), options.repeats)
    median = {side: [statistics.median(kind) for kind in zip(*runs, strict=True)] for side, runs in taken.items()}
    ratios = [round(ours / floor, 3) for ours, floor in zip(median["nothing"], median["empty"], strict=True)]
    report = {
        "benchmark": "plan",
        "jobs": jobs,
        "repeats": options.repeats,
        "figures": Seconds._fields,
        "seconds": {side: [[round(s, 3) for s in run] for run in runs] for side, runs in taken.items()},
        "median": {side: [round(s, 3) for s in seconds] for side, seconds in median.items()},
        "times_empty": ratios,
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _LOG.info("plan of the recipe: %.2f s, %.2f s of the processor", *median["plan"])
    _LOG.info("nothing to do: %.2f x an empty Snakefile, %.2f x of the processor", *ratios)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="turns that count")
    parser.add_argument(
        "--small", type=Path, help="where the small run is already, or shall be; else in a temporary folder"
    )
    parser.add_argument("--out", type=Path, default=Path("plan.json"), help="where the figures go")
    return parser.parse_args()


def _finish_small(folder: Path) -> int:
    """Do the small run, if it is not there; returns the number of its jobs."""
    if not folder.exists():
        folder.mkdir()
        done = Workflow(folder).snakemake("all")
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
    _, said = _snakemake("--dry-run", "--forceall", *_small(folder))
    return int(re.findall(r"^total +(\d+)$", said, re.MULTILINE)[0])


def _finish_empty(folder: Path, jobs: int) -> Path:
    """A folder with a Snakefile of that many jobs, done."""
    folder.mkdir()
    (folder / "Snakefile").write_text(EMPTY.format(jobs=jobs - 1), encoding="utf-8")
    _snakemake("--directory", str(folder), "--snakefile", str(folder / "Snakefile"))
    return folder


def _sides(small: Path, empty: Path) -> dict[str, list[str]]:
    recipe = ["--configfile", str(ROOT / "config" / "turkish-200m.yaml")]
    return {
        "plan": ["--dry-run", "--directory", str(empty), "--snakefile", str(ROOT / "Snakefile"), *recipe],
        "nothing": _small(small),
        "empty": ["--directory", str(empty), "--snakefile", str(empty / "Snakefile")],
    }


def _small(folder: Path) -> list[str]:
    place = ["--directory", str(folder), "--snakefile", str(ROOT / "Snakefile")]
    return [*place, "--configfile", str(folder / "config.yaml")]


def _measure(sides: dict[str, list[str]], repeats: int) -> dict[str, list[Seconds]]:
    taken: dict[str, list[Seconds]] = {side: [] for side in sides}
    for turn in range(repeats + 1):
        for side, arguments in sides.items():
            seconds, said = _snakemake(*arguments)
            if side != "plan" and "Nothing to be done" not in said:
                raise AssertionError(f"{side}: there was something to do:\n{said}")
            if turn:
                taken[side].append(seconds)
                _LOG.info("turn %d, %s: %.2f s, %.2f s of the processor", turn, side, *seconds)
    return taken


def _snakemake(*arguments: str) -> tuple[Seconds, str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    before, begin = os.times(), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall, after = time.perf_counter() - begin, os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Seconds(wall, processor), done.stdout + done.stderr


if __name__ == "__main__":
    main()
