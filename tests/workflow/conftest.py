import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from langtailor.storage.digests import sha256_file
from tests.models import make_tiny_bert_teacher
from tests.workflow.planner import dry_run

ROOT = Path(__file__).parents[2]
#: What a run says about itself, and what it keeps for going on, may hold times.
ASIDE = (
    "logs",
    "benchmarks",
    "checkpoints",
    "downloads",
    "shard_cache",
    "score_cache",
    "report.html",
    "provenance.json",
)
#: Value of a key that :func:`changed` shall take away.
REMOVED = object()


def changed(config: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with some values, named by their dotted keys, set or removed."""
    config = copy.deepcopy(config)
    for key, value in values.items():
        *sections, name = key.split(".")
        section = config
        for part in sections:
            section = section.setdefault(part, {})
        if value is REMOVED:
            del section[name]
        else:
            section[name] = value
    return config


def digests(results: Path) -> dict[str, str]:
    """SHA-256 of the files of a run's artifacts, by path; hidden files and what may hold times are left out."""
    names = {path: path.relative_to(results) for path in sorted(results.rglob("*")) if path.is_file()}
    kept = {path: name for path, name in names.items() if name.parts[0] not in ASIDE and name.name[0] != "."}
    return {name.as_posix(): sha256_file(path) for path, name in kept.items()}


class Workflow:
    """Runs the real workflow in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, teacher = folder, folder / "teacher"
        if not teacher.exists():
            make_tiny_bert_teacher(teacher)
        self.config = {
            "run": "small",
            "target_languages": ["tr"],
            "teacher": {"model": str(teacher), "reads": "pair"},
            "corpus": {
                "sources": {"sample": {"kind": "sample"}},
                "languages": {"en": {}, "tr": {}},
                "quotas": {"train": 80, "validation": 16, "test": 16},
                "cleaning": {"min_characters": 8, "near_duplicate_similarity": None},
            },
            "vocabulary": {"size": 420, "min_count": 0, "graft": {"share": 0.1}},
            "initialisation": {"method": "mean"},
            "distillation": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "validate_every": 5},
            "evaluation": {
                "bootstrap": 50,
                "tasks": {
                    "agreement": {"kind": "agreement"},
                    "fertility": {"kind": "fertility"},
                    "bitext": {"kind": "bitext", "source": "tr"},
                },
            },
        }

    def copy(self, folder: Path) -> Self:
        """The same run, as far as it is, in another folder; it reads the same teacher."""
        other = copy.copy(self)
        other.folder, other.config = folder, copy.deepcopy(self.config)
        shutil.copytree(self.folder / ".snakemake" / "metadata", folder / ".snakemake" / "metadata")
        subprocess.run(["cp", "-a", self.folder / "results", folder], check=True)
        return other

    def snakemake(self, *arguments: str, config: dict | None = None, cores: int = 2) -> subprocess.CompletedProcess:
        """Run snakemake on a configuration and return what it said."""
        command = [sys.executable, "-m", "snakemake", *self.arguments(*arguments, config=config, cores=cores)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=False)

    def planned(self, config: dict | None = None, *arguments: str) -> dict[str, int]:
        """Jobs by rule that a dry run names."""
        code, said = dry_run(self.arguments(*arguments, config=config))
        assert code == 0, said
        table = re.search(r"Job stats:\njob +count\n-[- ]+\n(.*?)\n\n", said, re.DOTALL)
        assert table or "Nothing to be done" in said, said
        jobs = dict(re.findall(r"^(\w+) +(\d+)$", table[1], re.MULTILINE)) if table else {}
        return {rule: int(count) for rule, count in jobs.items() if rule not in ("all", "total")}

    def arguments(self, *further: str, config: dict | None = None, cores: int = 2) -> list[str]:
        """Arguments of snakemake for a configuration."""
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(config or self.config), encoding="utf-8")
        place = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder), "--cores", str(cores)]
        return [*place, *further, "--configfile", str(file)]

    def digests(self) -> dict[str, str]:
        """SHA-256 of each artifact's files, by path."""
        return digests(self.results)

    @property
    def results(self) -> Path:
        return self.folder / "results" / "small"

    def json(self, name: str) -> dict:
        return json.loads((self.results / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def workflow(tmp_path_factory) -> Workflow:
    return Workflow(tmp_path_factory.mktemp("workflow"))


@pytest.fixture(scope="session")
def finished(workflow: Workflow) -> Workflow:
    """The small run, done once for all tests that look at its results."""
    done = workflow.snakemake("all")
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    return workflow
