"""The same configuration gives the same bytes, wherever and with how many cores it runs."""

import copy
import re
import shutil

import pytest

from tests.workflow.conftest import Workflow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

#: Artifacts of every stage: an empty comparison would hold, too.
STAGES = {
    *("teacher", "corpus", "counts", "vocabulary", "tokenizer", "clone", "vectors"),
    *("distillation", "evaluation", "student", "report"),
}


def test_another_folder_and_other_cores_give_the_same_bytes(finished, tmp_path):
    other = Workflow(tmp_path)
    other.config = copy.deepcopy(finished.config)
    done = other.snakemake("all", cores=1)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    first, second = finished.digests(), other.digests()
    assert {name.split("/")[0] for name in first} == STAGES
    assert {name for name in first if first[name] != second.get(name)} == set()
    assert set(first) == set(second)


def test_a_raised_quota_embeds_only_new_shards(workflow):
    config = {**copy.deepcopy(workflow.config), "run": "grown", "vectors": {"shard_passages": 40}}
    config["teacher"]["reads"] = "text"
    results = workflow.folder / "results" / "grown"

    def embedded(train: int, held_out: int) -> list[str]:
        """Shards that a run computes."""
        quotas = {"train": train, "validation": held_out, "test": held_out}
        config["corpus"]["languages"]["en"] = {"quotas": quotas}
        done = workflow.snakemake("vectors", config=config)
        assert done.returncode == 0, done.stdout + done.stderr
        log = (results / "logs" / "teacher_vectors" / "0000.log").read_text(encoding="utf-8")
        parts = re.split(r"reading the passages of (\S+)", log)[1:]
        return [name for name, said in zip(parts[::2], parts[1::2], strict=True) if "reused from" not in said]

    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted((results / "vectors").rglob("*.arrow"))}

    assert embedded(train=50, held_out=10) == ["en/00000", "en/00001", "tr/00000", "tr/00001", "tr/00002"]
    # In the same ratio, so that no document changes its split. The second shard went on with passages of other splits.
    assert embedded(train=100, held_out=20) == ["en/00001", "en/00002", "en/00003"]
    grown = files()
    shutil.rmtree(results / "shard_cache")
    shutil.rmtree(results / "vectors")
    assert len(embedded(train=100, held_out=20)) == 7
    assert files() == grown
