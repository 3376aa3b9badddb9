"""Jobs on one machine share its GPUs without asking one another, and say plainly what they lack."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
CLAIM = """
import sys
from pathlib import Path
from job import free_devices
print(*free_devices(["GPU-a", "GPU-b", "GPU-c"], int(sys.argv[2]), Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def claim(folder: Path, wanted: int) -> tuple[subprocess.Popen, list[int]]:
    """A job that holds devices until its input ends, and their numbers."""
    command = [sys.executable, "-c", CLAIM, str(folder), str(wanted)]
    job = subprocess.Popen(command, cwd=SCRIPTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return job, [*map(int, job.stdout.readline().split())]


def test_each_job_takes_devices_of_its_own_and_gives_them_back(tmp_path):
    (first, one), (second, two) = claim(tmp_path, 1), claim(tmp_path, 2)
    assert (one, two) == ([0], [1, 2])
    third, shared = claim(tmp_path, 1)
    assert shared[0] in (0, 1, 2)
    first.communicate()
    fourth, again = claim(tmp_path, 2)
    assert again[0] == 0
    assert again[1] in (1, 2)
    fifth, all_of_them = claim(tmp_path, 8)
    assert sorted(all_of_them) == [0, 1, 2]
    for job in (second, third, fourth, fifth):
        job.communicate()


HUNGRY = """
import resource
from pathlib import Path
from types import SimpleNamespace
from job import job
{imports}
rule = SimpleNamespace(rule="count_tokens", wildcards=["tr"], threads=1, log=["log/tr.log"], input=[], output=["out"])
with job(rule):
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**26, taken + 2**26))
    {allocate}
"""


@pytest.mark.parametrize(
    ("imports", "allocate"),
    [
        ("", "bytearray(2**30)"),
        ("import numpy", "numpy.zeros(2**30, numpy.uint8)"),
        ("import pyarrow", "pyarrow.allocate_buffer(2**30)"),
        ("import torch", "torch.empty(2**30, dtype=torch.uint8)"),
    ],
    ids=["python", "numpy", "arrow", "torch"],
)
def test_a_job_that_runs_out_of_memory_says_how_to_get_more(tmp_path, imports, allocate):
    script = HUNGRY.format(imports=imports, allocate=allocate)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n{script}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("[count_tokens tr] error: out of memory (")
    assert "--set-resources count_tokens:mem_mb=" in line
    assert "error: out of memory" in (tmp_path / "log" / "tr.log").read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_does_not_bury_the_message(tmp_path):
    (tmp_path / "log").touch()
    script = HUNGRY.format(imports="", allocate="raise OSError(28, 'No space left on device', 'out/model')")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n{script}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    first, second = done.stderr.splitlines()
    assert "this job cannot write its log: " in first
    assert second.startswith("[count_tokens tr] error: out/model: cannot be written, the disk is full")


SILENT = """
import sys, time
from functools import partial
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
import job
job.Heartbeat = partial(job.Heartbeat, every=0.1)
job._SILENCE = 0.1
rule = SimpleNamespace(rule="distil", wildcards=["small"], threads=1, log=["log/small.log"], input=[], output=[])
with job.job(rule):
    time.sleep(0.6)
"""


def test_a_job_that_says_nothing_is_seen_to_run(tmp_path):
    command = [sys.executable, "-c", SILENT, str(SCRIPTS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) >= 3
    assert set(lines[:3]) == {"[distil small] still running, 0:00 after: checking the inputs"}
    assert "INFO still running, 0:00 after: checking" in (tmp_path / "log" / "small.log").read_text(encoding="utf-8")


TALKATIVE = """
import logging, sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
import job
from langtailor.progress import track
rule = SimpleNamespace(rule="distil", wildcards=["small"], threads=1, log=["log/small.log"], input=[], output=[])
with job.job(rule):
    log = logging.getLogger("langtailor")
    log.info("half of it")
    log.warning("mind this")
    log.info("all of it")
    list(track([1, 2], "counting"))
"""


@pytest.mark.parametrize("verbose", [False, True])
def test_a_short_job_says_in_the_terminal_what_came_of_it_and_its_log_says_all(tmp_path, monkeypatch, verbose):
    monkeypatch.setenv("LANGTAILOR_VERBOSE", "1" if verbose else "")
    command = [sys.executable, "-c", TALKATIVE, str(SCRIPTS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    shown = [line.removeprefix("[distil small] ") for line in done.stderr.splitlines()]
    logged = [line.split(maxsplit=3)[3] for line in (tmp_path / "log" / "small.log").read_text().splitlines()]
    assert len(logged) == 6
    assert shown == (logged if verbose else ["mind this", "finished in 0:00: all of it"])
