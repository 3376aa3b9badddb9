"""What every script shares: logging, threads, device, and errors that speak plainly.

A script runs as ``with job(snakemake): ...``. Its messages go to the rule's log file. To the terminal go, marked with the
rule and its wildcards, warnings, a line every ten seconds and one at the end; with ``snakemake --verbose`` all of them. An
error that the user can act on is one line without a stack trace. Inputs are compared with what their jobs wrote; the
checksums of outputs are written for the jobs that will read them.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Read when torch is imported, which is after this. Threads that wait give their cores to others instead of spinning, which
# costs nothing on a quiet machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Batches have many sizes: without, a GPU's memory ends up in pieces that fit none.
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

from langtailor.errors import DiskFullError, LangtailorError, OutOfMemoryError, is_disk_full, is_out_of_memory
from langtailor.progress import Heartbeat, clock, is_verbose
from langtailor.storage.checksums import modified, verify_checksum, write_checksum

if TYPE_CHECKING:
    from langtailor.distillation.hidden_states import WholeClone
    from langtailor.distillation.launch import Processes
    from langtailor.distillation.train import Training

# By default Python looks for cycles after every 700 new objects. Importing torch makes a million, which all stay: an
# eighth of the time to import and leave it went there.
gc.set_threshold(100_000)

_LOG = logging.getLogger("langtailor")
#: Seconds after which a job says in the terminal that it is running.
_SILENCE = 8.0
#: Mark of a message that is shown in any case.
_ALWAYS = "always_shown"


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Run a script's body with its log, its threads and plain errors.

    Args:
        snakemake: the object that Snakemake hands to scripts.
    """
    _limit_threads(snakemake.threads)
    started, brief = time.monotonic(), _Brief()
    _log_to(Path(snakemake.log[0]), " ".join([snakemake.rule, *map(str, snakemake.wildcards)]), brief)
    try:
        inputs, outputs = ([Path(path) for path in paths] for paths in (snakemake.input, snakemake.output))
        with Heartbeat("checking the inputs"):
            for path in inputs:
                verify_checksum(path)
            newest = max(map(modified, inputs), default=0)
            yield
            for path in outputs:
                if ".snakemake" not in path.parts:  # where copies of remote storage come and go
                    write_checksum(path, newest)
        _LOG.info("finished in %s%s", clock(time.monotonic() - started), brief.last, extra={_ALWAYS: True})
    except Exception as error:
        if plain := _plain(error, snakemake):
            _LOG.error("error: %s", plain)
        else:
            _LOG.exception("unexpected error (please report it):")
        sys.exit(1)
    finally:
        gc.freeze()  # or the interpreter, as it ends, looks for cycles among all that was imported


def _plain(error: Exception, snakemake: Any) -> LangtailorError | None:
    """What the user can act on, if anything."""
    if isinstance(error, LangtailorError):
        return error
    if is_disk_full(error):
        return DiskFullError(Path(getattr(error, "filename", None) or snakemake.output[0]))
    if is_out_of_memory(error):
        return OutOfMemoryError(snakemake.rule, error)
    return None


def device(snakemake: Any) -> str:
    """``cuda`` where the job was given a GPU and torch sees one, else ``cpu``.

    Of several GPUs the job takes one that no other job has.
    """
    import torch

    from langtailor.models.precision import allow_tf32

    taken = gpus(snakemake, 1)
    if not taken:
        return "cpu"
    torch.cuda.set_device(taken[0])
    allow_tf32()
    return "cuda"


def gpus(snakemake: Any, most: int) -> list[int]:
    """Numbers of the job's GPUs that torch sees, at most the given number; each is the job's own until it ends."""
    wanted = min(most, snakemake.resources.get("gpu", 0))
    if not wanted:
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    names = [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]
    return free_devices(names, wanted, Path(tempfile.gettempdir()))


def free_devices(names: list[str], wanted: int, folder: Path) -> list[int]:
    """Numbers of devices whose locks this process now holds until it ends; if too few are free, also those of others.

    Args:
        names: what identifies each device on this machine, whatever part of them a job sees.
        wanted: how many are needed; all of them where there are fewer.
        folder: where the locks are.
    """
    free = (number for number, name in enumerate(names) if _lock(folder / f"langtailor-{os.getuid()}-{name}.lock"))
    taken = list(islice(free, wanted))
    if len(taken) < min(wanted, len(names)):
        _LOG.warning(
            "more GPU jobs than the %d GPUs here: set the resource `gpu` of the profile to their number", len(names)
        )
        others = [number for number in range(len(names)) if number not in taken]
        start = os.getpid() % max(1, len(others))
        taken += (others[start:] + others[:start])[: wanted - len(taken)]
    return taken


def _lock(path: Path) -> bool:
    """Whether this process now holds a lock, to its end."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    return True  # the open file is the lock


def train(training: Training, snakemake: Any) -> None:
    """Run a training on the device, or the devices, that the job was given."""
    from langtailor.distillation.launch import distil_in_processes
    from langtailor.distillation.train import distil

    several = processes(snakemake)
    if several is None:
        distil(training, device(snakemake))
    else:
        distil_in_processes(training, several)


def processes(snakemake: Any) -> Processes | None:
    """The processes of a job with several GPUs, or, on a machine without GPUs, as many as it requests; else none."""
    from langtailor.distillation.launch import Processes

    wanted = snakemake.resources.get("gpu", 0)
    if wanted < 2:
        return None
    taken = gpus(snakemake, wanted)
    count = len(taken) or wanted
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = [visible[number] if visible else str(number) for number in taken]
    return Processes(count, max(1, snakemake.threads // count), names)


def whole_clone(folders: list[str]) -> WholeClone | None:
    """The clone with all layers, given its folder and that of the clone with fewer; without folders, none."""
    from langtailor.distillation.hidden_states import WholeClone

    return WholeClone.of(*map(Path, folders)) if folders else None


def by_language(languages: list[str], paths: list[str]) -> dict[str, Path]:
    """Paths of a per-language artifact by language; both lists are in the same order."""
    return {lang: Path(path) for lang, path in zip(languages, paths, strict=True)}


def shards_by_language(languages: list[str], folders: list[str]) -> dict[str, list[Path]]:
    """Vector shards by language, in order, from the folders of the jobs that made them."""
    return {
        lang: sorted((path for folder in folders for path in Path(folder, lang).glob("*.arrow")), key=lambda p: p.name)
        for lang in languages
    }


def _limit_threads(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


class _Brief(logging.Filter):
    """What a job says in a terminal that many share: warnings, and of all else a line every ten seconds and the last.

    Attributes:
        last: the last message that was no progress, as the last line has it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        self._verbose = is_verbose()
        self._next = time.monotonic() + _SILENCE

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is shown."""
        if record.levelno == logging.INFO and record.module != "progress":
            self.last = f": {record.getMessage()}"
        now = time.monotonic()
        if not (self._verbose or record.levelno > logging.INFO or hasattr(record, _ALWAYS) or now >= self._next):
            return False
        self._next = now + _SILENCE
        return True


def _log_to(path: Path, label: str, brief: _Brief) -> None:
    # A log that cannot be written, on a full disk, must not bury what the job has to say.
    logging.raiseExceptions = False
    to_terminal = logging.StreamHandler(sys.stderr)
    to_terminal.setFormatter(logging.Formatter(f"[{label}] %(message)s"))
    to_terminal.addFilter(brief)
    handlers: list[logging.Handler] = [to_terminal]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        to_file = logging.FileHandler(path, mode="w", encoding="utf-8")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(to_file)
        problem = None
    except OSError as error:
        problem = error
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    _LOG.setLevel(logging.INFO)
    if problem is not None:
        _LOG.warning("this job cannot write its log: %s", problem)
