"""The estimate of a run that has begun."""

import copy
import os
import re
import subprocess
import sys

import pyarrow.parquet as pq
import yaml

from tests.workflow.conftest import ROOT


def estimate(workflow, config, *options):
    (workflow.folder / "estimate.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "langtailor.planning.estimate", "--configfile", "estimate.yaml", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    return subprocess.run(command, cwd=workflow.folder, env=environment, capture_output=True, text=True, check=False)


def mean_tokens(results, lang):
    """Of a training passage."""
    counted = pq.read_table(results / "counts" / f"{lang}.parquet")["count"].to_numpy().sum()
    splits = pq.read_table(results / "corpus" / f"{lang}.parquet")["split"].to_pylist()
    return counted / splits.count("train")


def test_a_finished_run_has_nothing_left(finished):
    said = estimate(finished, finished.config)
    assert said.stdout == "1 jobs of teacher vectors, 1 of them finished; 0 passages left\n"


def test_counts_and_timed_jobs_tell_how_long_the_rest_takes(finished):
    config = copy.deepcopy(finished.config)
    config["corpus"]["quotas"] = {"train": 160, "validation": 32, "test": 32}
    config["vectors"] = {"shard_passages": 112, "passages_per_job": 224}
    said = estimate(finished, config, "--workers", "2").stdout
    assert "2 jobs of teacher vectors, 1 of them finished; 224 passages left" in said
    tokens = 224 * mean_tokens(finished.results, "tr")
    assert f"{tokens:,.0f} tokens left (from the counts of 100 % of the passages)" in said
    assert re.search(r" on 2 at a time with [\d,]+ tokens/s each", said)
    config["vectors"]["source"] = {"dataset": "owner/vectors"}
    assert "no finished job was timed: give --rate" in estimate(finished, config).stderr, "none has used the teacher"


def test_a_wrong_configuration_is_refused_in_one_line(finished):
    said = estimate(finished, {**finished.config, "nonsense": 1})
    assert said.returncode != 0
    assert said.stderr.startswith("error: config `nonsense`")
    assert "Traceback" not in said.stderr
