"""All benchmarks, each in a process of its own: figures as JSON, a table on the screen and the same table in the documentation.

``make bench DATA=...`` runs this. A benchmark that fails leaves a row that says so, the others go on, and the exit code is
1. With ``--only`` the figures of the others stay as they are in ``--out``::

    python benchmarks/bench.py DATA --out benchmarks/results/performance.json
    python benchmarks/bench.py DATA --out benchmarks/results/performance.json --size full --only counting remap
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import LOG, REPOSITORY, environment, machine, start

_HERE = Path(__file__).resolve().parent
_BEGIN, _END = "<!-- written by benchmarks/bench.py -->\n", "<!-- end -->\n"
_HEAD = "| stage | against | ratio | to reach | reached | |\n|---|---|---|---|---|---|\n"
#: Seconds after which a benchmark counts as failed.
_LIMIT = 6 * 3600


@dataclass(frozen=True)
class Bench:
    """A benchmark: its options for each size, and whether it reads the public texts."""

    small: str
    default: str
    full: str
    data: bool = True

    def command(self, name: str, size: str, options: argparse.Namespace, out: Path) -> list[str]:
        """What runs it."""
        data = [str(options.data)] if self.data else []
        turns = ["--turns", str(options.turns)] if options.turns else []
        arguments = getattr(self, size).split()
        return [sys.executable, str(_HERE / f"bench_{name}.py"), *data, *arguments, *turns, "--out", str(out)]


#: ``small`` shows that all works, ``default`` is meant for 15 minutes on two quiet cores, ``full`` takes two hours.
BENCHES: dict[str, Bench] = {
    "counting": Bench("--mb 4 --slice-mb 0.5 --turns 1", "--mb 100 --slice-mb 0.5", "--slice-mb 1"),
    "surgery": Bench("--teacher-rows 16384 --rows 8192 --turns 2", "", "--grafts 64000", data=False),
    "remap": Bench(
        "--teacher-rows 16384 --rows 8192 --grafts 4000 --turns 2", "--loop-tokens 32", "--loop-tokens 256", data=False
    ),
    "vectors": Bench("--passages 96 --mixed 12 --turns 1", "--passages 512 --mixed 64", "--passages 2048 --mixed 256"),
    "distillation": Bench("--steps 4 --warmup 1 --batch-size 8 --turns 1", "--steps 12 --warmup 2", "--steps 44"),
    "store": Bench("--rows 5000 --turns 3", "", "--rows 200000", data=False),
    "growth": Bench("--documents 250 --passages 8", "--documents 1000 --passages 64", ""),
    "end_to_end": Bench(
        "--times 0.25 --epochs 0.25 --turns 1", "--times 0.5 --epochs 0.5 --turns 1", "--times 10 --turns 3"
    ),
}
SIZES = ("small", "default", "full")


def main() -> None:
    options = _options()
    start()
    results: dict[str, Any] = {}
    if options.only is not None and options.out.is_file():
        results = json.loads(options.out.read_text(encoding="utf-8"))
    for name in BENCHES if options.only is None else options.only:
        results[name] = _run(name, options)
        results = {known: results[known] for known in BENCHES if known in results}
        # After each, so that a run that is cut short leaves what it has.
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shown = table(results)
    sys.stdout.write(shown)
    if options.docs is not None:
        _insert(options.docs, shown)
    failed = [name for name, result in results.items() if "error" in result]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with tatoeba/ and stsb/")
    parser.add_argument("--out", type=Path, required=True, help="where the figures go")
    parser.add_argument("--size", choices=SIZES, default="default", help="seconds, 15 minutes, or hours")
    parser.add_argument("--turns", type=int, help="runs of each side, in place of the size's")
    parser.add_argument("--only", nargs="*", choices=list(BENCHES), help="some of them; none: write the table anew")
    parser.add_argument("--peers", type=Path, help="folder into which pip put packages that are not in the environment")
    parser.add_argument("--docs", type=Path, help="page whose table is written anew, docs/performance.md say")
    return parser.parse_args()


def _run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One benchmark's rows and figures, or the error that stopped it."""
    LOG.info("== %s", name)
    facts: dict[str, Any] = {"size": options.size, "machine": machine()}
    environ = environment()
    if options.peers is not None:
        environ["PYTHONPATH"] = os.pathsep.join([environ["PYTHONPATH"], str(options.peers.resolve())])
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+", encoding="utf-8") as log:
        out = Path(folder) / "figures.json"
        command = BENCHES[name].command(name, options.size, options, out)
        try:
            subprocess.run(command, check=True, stdout=log, stderr=log, env=environ, cwd=REPOSITORY, timeout=_LIMIT)
            facts |= json.loads(out.read_text(encoding="utf-8"))
        except (subprocess.SubprocessError, OSError) as error:
            log.seek(0)
            lines = log.read().splitlines() or [str(error)]
            LOG.error("%s failed:\n%s", name, "\n".join(lines[-20:]))
            facts["error"] = lines[-1]
    facts["seconds"] = round(time.monotonic() - begin)
    LOG.info("%s: %d s", name, facts["seconds"])
    return facts


# -- the table ---------------------------------------------------------------------------------------------------------


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """All rows as Markdown, with the machine and the sizes."""
    if not results:
        return _HEAD
    lines = [_line(row) for result in results.values() for row in result.get("rows", [])]
    lines += [
        f"| {name} | | failed | | no | {result['error']} |\n" for name, result in results.items() if "error" in result
    ]
    facts = next(iter(results.values()))["machine"]
    sizes = ", ".join(f"{name} {result['size']} ({result['seconds']} s)" for name, result in results.items())
    loads = [result["machine"]["load"] for result in results.values()]
    about = ", ".join(f"{key} {value}" for key, value in facts.items() if key not in ("load", "processor", "cores"))
    return (
        f"{facts.get('processor')}, {facts.get('cores')} cores, load before each benchmark {min(loads)} to {max(loads)}; "
        f"{about}. Sizes: {sizes}.\n\n{_HEAD}{''.join(lines)}"
    )


def _line(row: Mapping[str, Any]) -> str:
    sign = "at most" if row["at_most"] else "at least"
    ratio = (
        "not measured"
        if row["ratio"] is None
        else f"{row['ratio']:,.4g}"
        if row["ratio"] < 1e4
        else f"{row['ratio']:,.0f}"
    )
    reached = {True: "yes", False: "**no**", None: ""}[row["reached"]]
    return f"| {row['stage']} | {row['against']} | {ratio} | {sign} {row['target']:g} | {reached} | {row['note']} |\n"


def _insert(page: Path, shown: str) -> None:
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    page.write_text(f"{before}{_BEGIN}\n{shown}\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
