"""A job or Snakemake itself can be killed at any moment of any stage: a rerun goes on and ends in the same bytes."""

import os
import random
import re
import signal
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.conftest import FaultyRun, without_trace
from tests.workflow import planner
from tests.workflow.conftest import ROOT

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_800)]

_SEED = 20_26
#: More would mean that kills do not hit or that reruns do not end.
_MOST_STARTS = 60
#: How much sooner a kill comes after one that came too late.
_SOONER = 0.5
_SCRIPT = re.compile(r"/\.snakemake/scripts/tmp\w+\.(\w+)\.py$")
#: The rule of each script.
_RULES = {
    script: rule
    for file in (ROOT / "workflow" / "rules").glob("*.smk")
    for rule, script in re.findall(
        r'^rule (\w+):$(?:(?!^rule ).)*?"\.\./scripts/(\w+)\.py"',
        file.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
}
#: What is killed in a stage, one after the other; a stage with more jobs is killed in more often.
_VICTIMS = {
    **dict.fromkeys(("fetch_documents", "build_corpus"), ("job", "snakemake", "job")),
    **dict.fromkeys(
        ("fetch_teacher", "count_tokens", "teacher_vectors", "select_vocabulary", "write_tokenizer", "clone_model"),
        ("job", "snakemake"),
    ),
    **dict.fromkeys(("tokenize_corpora", "assemble_student", "write_report"), ("snakemake", "job")),
    "distil": ("job", "snakemake", "job", "snakemake"),
    "evaluate": ("snakemake", "job", "job", "snakemake"),
}


@dataclass(frozen=True)
class Job:
    """A job's own process, not the shell around it."""

    rule: str
    pid: int


def session_of(pid: int) -> int | None:
    """Session of a process that is there and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if status[0] in "ZX" else int(status[3])


def processes(session: int) -> list[int]:
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and session_of(int(path.name)) == session
    ]


def jobs(session: int) -> list[Job]:
    found = []
    for pid in processes(session):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
        except OSError:
            continue
        script = _SCRIPT.search(words[1]) if len(words) > 1 else None
        if script:
            found.append(Job(_RULES[script[1]], pid))
    return found


def kill(pid: int) -> bool:
    """Whether the process was there to be killed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class Killer:
    """Kills at moments drawn from the time that a stage's jobs take undisturbed; sooner after each that came too late."""

    def __init__(self, undisturbed: FaultyRun) -> None:
        self._random = random.Random(_SEED)
        self._undisturbed = undisturbed
        self._waiting = {rule: deque(victims) for rule, victims in _VICTIMS.items()}
        self._late: Counter[str] = Counter()
        self.by_rule: Counter[str] = Counter()
        self.of_snakemake = 0

    @property
    def missed(self) -> list[str]:
        """Stages in which something is still to be killed."""
        return [rule for rule, victims in self._waiting.items() if victims]

    def watch(self, session: int) -> None:
        """Kill what is due, until Snakemake has ended or was killed."""
        due: dict[Job, tuple[float, str]] = {}
        while session_of(session) is not None:
            now = time.monotonic()
            running = jobs(session)
            for job in running:
                if job not in due and self._waiting[job.rule] and not any(other.rule == job.rule for other in due):
                    share = self._random.uniform(0, 0.8) * _SOONER ** self._late[job.rule]
                    after = share * self._undisturbed.seconds(job.rule)
                    due[job] = now + after, self._waiting[job.rule][0]
            for job, (moment, victim) in list(due.items()):
                if job not in running:
                    del due[job]  # it was faster this time
                    self._late[job.rule] += 1
                elif now >= moment:
                    del due[job]
                    if self._kill(job, victim, session):
                        return
            time.sleep(0.05)

    def _kill(self, job: Job, victim: str, session: int) -> bool:
        """Whether Snakemake was killed."""
        hit = kill(job.pid)
        if victim == "snakemake":
            # The job went first: nobody can say that it had ended by itself.
            for pid in processes(session):
                kill(pid)
        if hit:
            self._waiting[job.rule].popleft()
            self._late[job.rule] = 0
            self.by_rule[job.rule] += 1
            self.of_snakemake += victim == "snakemake"
        return victim == "snakemake"


def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(undisturbed, expected, tmp_path, capsys):
    disturbed = FaultyRun(tmp_path)
    disturbed.config = undisturbed.config
    killer, starts, forced = Killer(undisturbed), 0, []
    while True:
        starts += 1
        assert starts <= _MOST_STARTS, (
            f"not at its end after {_MOST_STARTS} starts; still to be killed: {killer.missed}"
        )
        output = tmp_path / f"output-{starts}"
        # A killed job is tried again at once; the profile makes Snakemake rerun what a killed run left incomplete.
        snakemake = planner.start(disturbed.arguments("all", "--retries", "3", *forced), output)
        killer.watch(snakemake.pid)
        snakemake.join(60)
        said = output.read_text(encoding="utf-8")
        assert "unexpected error" not in said
        assert snakemake.exitcode in (0, -signal.SIGKILL), said[-5_000:]
        if snakemake.exitcode:
            # What was forced is forced once more: as after a deletion, Snakemake leaves an intermediate missing while
            # the results that were made from it stand.
            if killer.of_snakemake == 1:
                code, said = disturbed.run("all")
                assert code != 0 and "--unlock" in said, "what to do is said"
            assert disturbed.run("--unlock")[0] == 0
        elif missed := killer.missed:
            # One at a time: Snakemake can stall where one rule of --until needs another (its issue 823).
            forced = ["--until", missed[0], "--forcerun", missed[0]]
        elif forced:
            forced = []
        else:
            break
    with capsys.disabled():
        kills = f"{killer.by_rule.total()} kills, {killer.of_snakemake} of them of Snakemake"
        print(f"\nseed {_SEED}: {kills}; {starts} starts; {dict(killer.by_rule)}")
    assert killer.by_rule == {rule: len(victims) for rule, victims in _VICTIMS.items()}
    assert killer.by_rule.total() >= 30
    assert disturbed.digests() == expected
    assert disturbed.unfinished() == []


def test_a_job_that_is_killed_for_memory_is_named_and_tried_again_with_more(undisturbed, tmp_path):
    run, target = undisturbed.copy(tmp_path), "results/small/counts/tr.parquet"

    def killed(*arguments: str) -> tuple[int | None, str]:
        """Kill the first job, as the kernel does where memory is short."""
        output = tmp_path / "output"
        snakemake = planner.start(run.arguments("--force", target, *arguments), output)
        while not (running := jobs(snakemake.pid)):
            time.sleep(0.02)
        kill(running[0].pid)
        snakemake.join(120)
        return snakemake.exitcode, output.read_text(encoding="utf-8")

    code, said = killed()
    assert code == 1
    assert "Error in rule count_tokens" in said
    assert "SIGKILL" in said
    assert without_trace(said)
    code, said = killed("--retries", "1", "--verbose")
    assert code == 0, said
    assert re.findall(r"^    resources: .*\bmem_mb=(\d+)", said, re.MULTILINE) == ["4000", "8000"]
    assert run.digests() == undisturbed.digests()
