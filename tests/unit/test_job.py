"""Jobs on one machine share its GPUs without asking one another."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
CLAIM = """
import sys
from pathlib import Path
from job import free_device
print(free_device(2, Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_each_job_takes_a_device_of_its_own_and_gives_it_back(tmp_path):
    def start():
        command = [sys.executable, "-c", CLAIM, str(tmp_path)]
        job = subprocess.Popen(command, cwd=SCRIPTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return job, int(job.stdout.readline())

    (first, one), (second, other), (third, shared) = start(), start(), start()
    assert (one, other) == (0, 1)
    assert shared in (0, 1)
    first.communicate()
    fourth, again = start()
    assert again == 0
    for job in (second, third, fourth):
        job.communicate()
