"""Refresh the lock files and the conda environments (``make lock``).

``cpu.txt``, ``export.txt`` and ``dev.txt`` are resolved by pip-compile from ``pyproject.toml``; ``gpu.txt`` is ``cpu.txt``
with the CUDA build of torch; ``docs.txt`` is resolved from ``docs.in``; ``envs/*.yaml`` hold the same pins for
``snakemake --sdm conda``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from packaging.version import Version

HERE = Path(__file__).parent
ROOT = HERE.parent
PYTHON = "3.11"
TORCH = "2.13.0"
#: What packages allow that users add to the environment: the S3 storage plugin's botocore takes no newer dateutil.
BOUNDS = ["python-dateutil<3"]
#: Where conda environments find the CPU build of torch.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    """Resolve, then write every file that derives from the resolution."""
    cpu = resolve([], constraints=BOUNDS)
    write_lock("cpu", cpu)
    write_lock("export", resolve(["export"], constraints=cpu))
    write_lock("dev", resolve(["demo", "export", "dev"], constraints=cpu))
    write_lock("gpu", [without_local_version(pin) for pin in cpu])
    write_lock("docs", resolve([], constraints=[], source="requirements/docs.in"), source="requirements/docs.in")
    for kind in ("cpu", "gpu", "export"):
        (ROOT / "envs" / f"{kind}.yaml").write_text(environment(kind), encoding="utf-8")


def resolve(extras: list[str], constraints: list[str], source: str = "pyproject.toml") -> list[str]:
    """Pins (``name==version``) of the source with some extras, sorted, as pip-compile finds them."""
    given = HERE / ".constraints.txt"
    given.write_text("\n".join([f"torch=={TORCH}+cpu", *constraints]) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--strip-extras", "--no-header", "--no-annotate"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host", "--upgrade"]
    command += [f"--extra={extra}" for extra in extras]
    command += [f"--constraint={given}", "--output-file=-", str(ROOT / source)]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    finally:
        given.unlink()
    lines = (line.strip() for line in done.stdout.splitlines())
    pins = sorted(line for line in lines if "==" in line and not line.startswith(("#", "-")))
    for pin in pins:  # An index may list a file under a name that is no version: InvalidVersion says which.
        Version(pin.partition("==")[2])
    return pins


def without_local_version(pin: str) -> str:
    """``torch==2.13.0+cpu`` -> ``torch==2.13.0``: the default build of the same version."""
    return pin.partition("+")[0]


def write_lock(kind: str, pins: list[str], source: str = "pyproject.toml") -> None:
    """Write ``requirements/{kind}.txt``."""
    header = f"# Made by `make lock` from {source} for Python {PYTHON}. Do not edit.\n"
    (HERE / f"{kind}.txt").write_text(header + "\n".join(pins) + "\n", encoding="utf-8")


def environment(kind: str) -> str:
    """The conda environment with the pins of ``requirements/{kind}.txt``."""
    pins = [line for line in (HERE / f"{kind}.txt").read_text(encoding="utf-8").splitlines() if "==" in line]
    index = [f"--extra-index-url {CPU_INDEX}"] if kind != "gpu" else []
    lines = [
        f"# Made by `make lock` from requirements/{kind}.txt. Do not edit.",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        f"  - python ={PYTHON}",
        "  - pip",
        "  - pip:",
        *(f"      - {entry}" for entry in index + pins),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
