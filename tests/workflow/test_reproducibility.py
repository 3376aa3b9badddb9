"""The same configuration gives the same bytes, wherever and with how many cores it runs."""

import copy
import shutil
from pathlib import Path

import pytest

from langtailor.artifacts import sha256_file
from tests.workflow.conftest import Workflow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

#: What a run says about itself, and what it keeps for going on, may hold times.
ASIDE = ("logs", "benchmarks", "checkpoints", "kept", "report.html", "provenance.json")
#: Artifacts of every stage: an empty comparison would hold, too.
STAGES = {
    *("teacher", "documents", "corpus", "counts", "vocabulary", "tokenizer", "clone", "tokens"),
    *("distilled", "evaluation", "student"),
}


def digests(results: Path) -> dict[str, str]:
    """SHA-256 of each artifact's files, by path."""
    files = (path for path in sorted(results.rglob("*")) if path.is_file() and path.name != ".snakemake_timestamp")
    names = {path.relative_to(results): path for path in files}
    return {name.as_posix(): sha256_file(path) for name, path in names.items() if name.parts[0] not in ASIDE}


def test_another_folder_and_other_cores_give_the_same_bytes(finished, tmp_path):
    other = Workflow(tmp_path)
    other.config = copy.deepcopy(finished.config)
    done = other.snakemake("all", cores=1)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    first, second = digests(finished.results), digests(other.results)
    assert {name.split("/")[0] for name in first} == STAGES
    assert {name for name in first if first[name] != second.get(name)} == set()
    assert set(first) == set(second)


def test_a_raised_quota_embeds_only_new_shards(workflow):
    config = {**copy.deepcopy(workflow.config), "run": "grown", "vectors": {"shard_passages": 40}}
    folder = workflow.folder / "results" / "grown" / "teacher" / "vectors" / "en"

    def embed(train: int, shards: int) -> list[int]:
        config["corpus"]["languages"]["en"] = {"quotas": {"train": train, "validation": 16, "test": 16}}
        wanted = [folder / f"{shard:05d}.arrow" for shard in range(shards)]
        done = workflow.snakemake(*(str(path.relative_to(workflow.folder)) for path in wanted), config=config)
        assert done.returncode == 0, done.stdout + done.stderr
        return [path.stat().st_ino for path in wanted]

    before = embed(train=80, shards=3)
    after = embed(train=120, shards=4)
    # 80 training passages fill two shards; the third, which ended in other splits, is made anew.
    assert after[:2] == before[:2]
    assert not set(after[2:]) & set(before)
    fresh = [path.read_bytes() for path in sorted(folder.iterdir())]
    shutil.rmtree(folder.parents[2] / "kept")
    shutil.rmtree(folder)
    embed(train=120, shards=4)
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == fresh
