"""One training in several processes, each with a GPU or a share of the cores.

torch's own launcher starts them (``torch.distributed.run``, which ``accelerate launch`` is made of). What they say comes
to the process that has started them, and they end when it does.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from langtailor.distillation.train import Training, distil
from langtailor.errors import LangtailorError, TrainingError
from langtailor.models.child_process import child_environment
from langtailor.models.precision import allow_tf32
from langtailor.storage.atomic import scratch_directory

_LOG = logging.getLogger("langtailor")


@dataclass(frozen=True)
class Processes:
    """Where the processes of a training run.

    Attributes:
        count: how many.
        threads: threads of each.
        gpus: their GPUs, as ``CUDA_VISIBLE_DEVICES`` names them; empty where they share the processor's cores.
    """

    count: int
    threads: int
    gpus: Sequence[str] = ()


#: A training as a file has it.
_TRAINING = TypeAdapter(Training)


def distil_in_processes(training: Training, processes: Processes) -> None:
    """:func:`langtailor.distillation.train.distil` in several processes.

    Args:
        training: what is trained, on what and how.
        processes: where.

    Raises:
        TrainingError: a process has failed; says what it said.
    """
    with scratch_directory(training.out) as folder:
        file = folder / "training.json"
        file.write_bytes(_TRAINING.dump_json(training))
        _LOG.info("training in %d processes", processes.count)
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes.count)]
        device = "cuda" if processes.gpus else "cpu"
        status = _run([sys.executable, "-m", *launcher, "-m", __name__, str(file), device], _environment(processes))
        if status:
            said = _error_file(file)
            raise TrainingError(
                said.read_text(encoding="utf-8")
                if said.is_file()
                else f"a training process ended with status {status}; the log has its last words"
            )


def _run(command: list[str], environment: Mapping[str, str]) -> int:
    """Run the launcher, and log what its processes say; returns its exit status."""
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,  # which ends with this process
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            level, _, message = line.rstrip().partition(" ")
            if level in ("INFO", "WARNING"):
                _LOG.log(logging.getLevelNamesMapping()[level], "%s", message)
            else:
                _LOG.info("%s", line.rstrip())
        return process.wait()


def _environment(processes: Processes) -> dict[str, str]:
    added = {"OMP_NUM_THREADS": str(processes.threads)}
    if processes.gpus:
        added["CUDA_VISIBLE_DEVICES"] = ",".join(processes.gpus)
    return child_environment(added)


def _error_file(file: Path) -> Path:
    return file.with_suffix(".error")


def _work(file: Path, device: str) -> None:
    """What each process does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    first = os.environ["RANK"] == "0"
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr, force=True)
    _LOG.setLevel(logging.INFO if first else logging.ERROR)
    allow_tf32()
    training = _TRAINING.validate_json(file.read_bytes())
    try:
        distil(training, device)
    except LangtailorError as error:
        _error_file(file).write_text(str(error), encoding="utf-8")
        sys.exit(1)


def _end_with_parent() -> None:
    """Wait for the end of the input, which comes when the process that has started the training is gone."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), sys.argv[2])
