"""The Dockerfile, read: what it copies is there and gets past .dockerignore, and no image runs as root or holds a secret."""

import json
import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KINDS = ("cpu", "gpu", "export")


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with their arguments, in order."""
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    return [(name, rest) for line in lines if line for name, _, rest in [line.partition(" ")]]


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def copied(kind: str) -> list[str]:
    """What is copied from the repository."""
    paths = [path for rest in arguments("COPY") if not rest.startswith("--from") for path in rest.split()[:-1]]
    return [path.replace("${KIND}", kind) for path in paths]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a path through: the last pattern that fits it, or a folder above it, decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        parts = Path(path).parts
        above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        if line and line[0] != "#" and any(fnmatch(name, pattern.removeprefix("**/")) for name in above):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_copied_is_in_the_repository_and_is_sent(kind):
    for path in copied(kind):
        listed = subprocess.run(["git", "ls-files", path], cwd=ROOT, capture_output=True, text=True, check=True)
        files = listed.stdout.split()
        assert files, path
        assert all(map(is_sent, files)), path
    assert f"requirements/{kind}.txt" in copied(kind)


def test_what_no_image_needs_is_not_sent():
    assert not any(map(is_sent, ("tests/conftest.py", "results/demo/report.html", ".git/config", ".venv/bin/python")))


def test_the_wheels_stage_has_all_that_the_wheel_is_made_of():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "pyproject.toml"]
    needed += project["project"]["license-files"]
    stage = copied("cpu")
    assert [path for path in needed if not any(Path(path).is_relative_to(part) for part in stage)] == []


def test_the_python_is_that_of_the_lock_files():
    (base,) = (rest.partition("=")[2] for rest in arguments("ARG") if rest.startswith("BASE="))
    (version,) = re.findall(
        r'^PYTHON = "(.+)"$', (ROOT / "requirements/lock.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert f"python:{version}-" in base


def test_the_kinds_are_those_of_the_lock_files():
    named = re.findall(r"KIND=(\w+)", TEXT)
    assert set(named) == set(KINDS)
    assert all((ROOT / "requirements" / f"{kind}.txt").is_file() for kind in named)


def test_it_does_not_run_as_root():
    assert arguments("USER") == ["1000"]
    last_run = max(number for number, (name, _) in enumerate(instructions()) if name == "RUN")
    assert [name for name, _ in instructions()].index("USER") > last_run


def test_it_holds_no_secret_and_fetches_nothing_by_address():
    said = " ".join(rest for name, rest in instructions() if name in ("ARG", "ENV", "RUN"))
    assert not re.search(r"token|secret|passw|credential|api_?key", said, re.IGNORECASE)
    assert arguments("ADD") == []


def test_it_starts_the_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (start,) = map(json.loads, arguments("ENTRYPOINT"))
    assert start[0] in project["project"]["scripts"]
