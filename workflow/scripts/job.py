"""What every script shares: logging, threads, device, and errors that speak plainly.

A script runs as ``with job(snakemake): ...``. Its messages go to the rule's log file and, marked with the rule and its
wildcards, to the terminal. An error that the user can act on is one line without a stack trace.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from langtailor.errors import LangtailorError

_LOG = logging.getLogger("langtailor")


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Run a script's body with its log, its threads and plain errors.

    Args:
        snakemake: the object that Snakemake hands to scripts.
    """
    _limit_threads(snakemake.threads)
    _log_to(Path(snakemake.log[0]), " ".join([snakemake.rule, *map(str, snakemake.wildcards)]))
    try:
        yield
    except LangtailorError as error:
        _LOG.error("error: %s", error)
        sys.exit(1)
    except Exception:
        _LOG.exception("this is a defect of langtailor, not of your configuration:")
        sys.exit(1)


def device(snakemake: Any) -> str:
    """``cuda`` where the job was given a GPU and torch sees one, else ``cpu``.

    Of several GPUs the job takes one that no other job has.
    """
    import torch

    if not snakemake.resources.get("gpu", 0) or not torch.cuda.is_available():
        return "cpu"
    torch.cuda.set_device(free_device(torch.cuda.device_count(), Path(tempfile.gettempdir())))
    return "cuda"


def free_device(devices: int, folder: Path) -> int:
    """Number of a device whose lock this process now holds, to its end; where all are taken, one of them.

    Args:
        devices: how many there are.
        folder: where the locks are.
    """
    for number in range(devices):
        lock = os.open(folder / f"langtailor-{os.getuid()}-gpu-{number}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return number  # the open file is the lock
    _LOG.warning("more GPU jobs than the %d GPUs here: set the resource `gpu` of the profile to their number", devices)
    return os.getpid() % devices


def by_language(languages: list[str], paths: list[str]) -> dict[str, Path]:
    """Paths of a per-language artifact by language; both lists are in the same order."""
    return {lang: Path(path) for lang, path in zip(languages, paths, strict=True)}


def shards_by_language(languages: list[str], paths: list[str]) -> dict[str, list[Path]]:
    """Vector shards by language, in order; a shard lies in its language's folder."""
    return {lang: [Path(path) for path in paths if Path(path).parent.name == lang] for lang in languages}


def _limit_threads(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def _log_to(path: Path, label: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(path, mode="w", encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    to_terminal = logging.StreamHandler(sys.stderr)
    to_terminal.setFormatter(logging.Formatter(f"[{label}] %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[to_file, to_terminal], force=True)
    _LOG.setLevel(logging.INFO)
