"""A Slurm of one node on this machine: Debian's daemons, a ``gpu`` backed by ``/dev/zero``, no accounting database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from itertools import accumulate
from pathlib import Path

_PLACE = Path("/etc/slurm")
_MARK = "# Written by langtailor's tests."
_DAEMONS = ("munged", "slurmctld", "slurmd")
#: Slurm is told of more than there is, so that the rules' requests fit whatever machine this is.
_CPUS, _MEGABYTES = 16, 64_000


class Cluster:
    """Starts on entering, stops on leaving."""

    def __init__(self, state: Path) -> None:
        self._state, self._started = state, []

    def __enter__(self) -> Cluster:
        if missing := [name for name in _DAEMONS if shutil.which(name) is None]:
            raise RuntimeError(f"no {', '.join(missing)}: run `make test-slurm`, or apt-get install slurm-wlm munge")
        self._configure()
        self._munge()
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D")
        self._await_idle()
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._started):
            process.terminate()
        for process in self._started:
            process.wait(30)

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that Slurm remembers: id, state, resources that they asked for, and the plugin's comment."""
        fields = {"id": "JobID:20", "state": "State:20", "asked": "tres-per-job:40", "comment": "Comment:200"}
        lines = _output("squeue", "--states=all", "--noheader", f"--Format={','.join(fields.values())}").splitlines()
        widths = [int(field.partition(":")[2]) for field in fields.values()]
        ends = list(accumulate(widths))
        return [
            {name: line[end - width : end].strip() for name, width, end in zip(fields, widths, ends, strict=True)}
            for line in lines
        ]

    def _configure(self) -> None:
        host = socket.gethostname().partition(".")[0]
        config = f"""{_MARK}
ClusterName=langtailor
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MinJobAge=36000
ReturnToService=2
KillWait=5
StateSaveLocation={self._state}/controller
SlurmdSpoolDir={self._state}/node
SlurmctldPidFile={self._state}/slurmctld.pid
SlurmdPidFile={self._state}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs={_CPUS} RealMemory={_MEGABYTES} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
        written = _PLACE / "slurm.conf"
        if written.exists() and not written.read_text(encoding="utf-8").startswith(_MARK):
            raise RuntimeError(f"{written} is another Slurm's; the tests would replace it, so run them elsewhere")
        _PLACE.mkdir(exist_ok=True)
        (self._state / "controller").mkdir(parents=True)
        (self._state / "node").mkdir()
        written.write_text(config, encoding="utf-8")
        (_PLACE / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/zero\n", encoding="utf-8")

    def _munge(self) -> None:
        if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
            return
        key = Path("/etc/munge/munge.key")
        if not key.exists():
            key.write_bytes(os.urandom(1024))
            key.chmod(0o400)
            shutil.chown(key, "munge", "munge")
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=True)

    def _start(self, name: str, *arguments: str) -> None:
        log = (self._state / f"{name}.log").open("wb")
        self._started.append(
            subprocess.Popen(
                [name, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        )

    def _await_idle(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while "idle" not in (state := _output("sinfo", "--noheader", "--format=%T")):
            if time.monotonic() > end:
                logs = "".join(path.read_text(errors="replace")[-2_000:] for path in self._state.glob("*.log"))
                raise RuntimeError(f"the node is {state or 'unknown'} after {seconds} s:\n{logs}")
            time.sleep(0.5)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
