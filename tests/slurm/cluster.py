"""A Slurm of one node on this machine: Debian's daemons, a ``gpu`` backed by ``/dev/zero``, no accounting database.

Everything that it writes lies in one folder, but for ``/etc/slurm/slurm.conf``, which is put back when it stops. Its ports
are free ones and its munge has a socket of its own, so that what an earlier one left behind does not matter.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path

_CONF = Path("/etc/slurm/slurm.conf")
_ASIDE = _CONF.with_suffix(".conf.before-langtailor")
_MARK = "# Written by langtailor's tests."
_DAEMONS = ("munged", "slurmctld", "slurmd")
#: Slurm is told of more than there is, so that the rules' requests fit whatever machine this is.
_CPUS, _MEGABYTES = 16, 64_000
_FIELDS = {
    "id": "JobID:20",
    "state": "State:20",
    "partition": "Partition:20",
    "asked": "tres-per-job:40",
    "memory": "MinMemory:20",
    "limit": "TimeLimit:20",
    "comment": "Comment:200",
}


class Cluster:
    """Starts on entering, stops on leaving.

    Args:
        state: an empty folder for its files.
    """

    def __init__(self, state: Path) -> None:
        self._state, self._stack = state, ExitStack()

    def __enter__(self) -> Cluster:
        if missing := [name for name in _DAEMONS if shutil.which(name) is None]:
            raise RuntimeError(f"no {', '.join(missing)}: run `make test-slurm`, or apt-get install slurm-wlm munge")
        with ExitStack() as stack:
            stack.enter_context(_in_place(self._configure()))
            self._munge(stack)
            self._start(stack, "slurmctld", "-D")
            self._start(stack, "slurmd", "-D", "-f", str(self._state / "slurm.conf"))
            self._await("idle node", lambda: "idle" in _output("sinfo", "--noheader", "--format=%T"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            _output("scancel", "--user=root")
            self._await("end of all jobs", lambda: not _output("squeue", "--noheader"))

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that Slurm remembers: what they are, what they asked for, and the plugin's comment, which names rules."""
        lines = _output(
            "squeue", "--states=all", "--sort=i", "--noheader", f"--Format={','.join(_FIELDS.values())}"
        ).splitlines()
        widths = [int(field.partition(":")[2]) for field in _FIELDS.values()]
        ends = list(accumulate(widths))
        return [
            {name: line[end - width : end].strip() for name, width, end in zip(_FIELDS, widths, ends, strict=True)}
            for line in lines
        ]

    def _configure(self) -> str:
        """Write the configuration, which the node's daemon reads with that of its gpu beside it; returns it."""
        host = socket.gethostname().partition(".")[0]
        controller, node = _free_ports(2)
        config = f"""{_MARK}
ClusterName=langtailor
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={self._state}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
AccountingStorageType=accounting_storage/none
# A job that takes more memory than it asked for is killed within a second or two, without cgroups.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MinJobAge=36000
ReturnToService=2
KillWait=5
StateSaveLocation={self._state}/controller
SlurmdSpoolDir={self._state}/node
SlurmctldPidFile={self._state}/slurmctld.pid
SlurmdPidFile={self._state}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs={_CPUS} RealMemory={_MEGABYTES} Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
"""
        for folder in ("controller", "node"):
            (self._state / folder).mkdir(parents=True)
        (self._state / "slurm.conf").write_text(config, encoding="utf-8")
        (self._state / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/zero\n", encoding="utf-8")
        return config

    def _munge(self, stack: ExitStack) -> None:
        key, address = self._state / "munge.key", f"--socket={self._state}/munge.socket"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = {"key": key, **{name: self._state / f"munge.{name}" for name in ("pid", "seed", "log")}}
        places = [f"--{name}-file={path}" for name, path in files.items()]
        # By force: munge would rather see the folders above the socket owned by its own user.
        self._start(stack, "munged", "--foreground", "--force", address, *places)
        self._await("munge", lambda: bool(_output("munge", "-n", address)))

    def _start(self, stack: ExitStack, name: str, *arguments: str) -> None:
        log = stack.enter_context((self._state / f"{name}.log").open("wb"))
        process = stack.enter_context(
            subprocess.Popen(
                [name, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        )
        stack.callback(process.terminate)

    def _await(self, what: str, reached: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > end:
                logs = "".join(path.read_text(errors="replace")[-2_000:] for path in self._state.glob("*.log"))
                raise RuntimeError(f"no {what} after {seconds} s:\n{logs}")
            time.sleep(0.5)


@contextmanager
def _in_place(config: str) -> Iterator[None]:
    """Put a configuration where Slurm's commands look for it, and back what was there.

    The commands that jobs run find it nowhere else: Snakemake's plugin takes Slurm's variables out of their environment.
    """
    _CONF.parent.mkdir(exist_ok=True)
    if _CONF.exists() and not _CONF.read_text(encoding="utf-8").startswith(_MARK):
        if "is UP" in _output("scontrol", "ping"):
            raise RuntimeError(f"a Slurm is running that {_CONF} describes; the tests would take its place")
        _CONF.replace(_ASIDE)
    _CONF.write_text(config, encoding="utf-8")
    try:
        yield
    finally:
        _CONF.unlink()
        if _ASIDE.exists():
            _ASIDE.replace(_CONF)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
