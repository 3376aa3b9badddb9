"""The benchmarks' configurations, which no other test reads: that they still are configurations."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from langtailor.planning.configuration import load_settings

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from bench_end_to_end import Case

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_configuration_can_be_read(file: Path) -> None:
    settings = load_settings(yaml.safe_load(file.read_text(encoding="utf-8")))
    assert settings.run == file.stem


def test_both_sides_of_the_end_to_end_benchmark_get_the_demo_with_other_text(tmp_path: Path) -> None:
    data = tmp_path / "data" / "stsb"
    data.mkdir(parents=True)
    rows = [(f"first sentence {number}", f"second sentence {number}") for number in range(600)]
    english = "".join(f"{first},{second},2.5\n" for first, second in rows)
    (data / "stsb-en-train.csv").write_text(english, encoding="utf-8")
    (data / "stsb-de-train.csv").write_text(english.replace("first", "erster"), encoding="utf-8")
    turkish = "".join(f"bir {first}\tiki {second}\t2.5\n" for first, second in rows)
    (data / "stsb-tr-train.tsv").write_text(f"sentence1\tsentence2\tscore\n{turkish}", encoding="utf-8")
    case = Case.prepared(tmp_path, Namespace(data=data.parent, times=2.0, epochs=1.0, cores=2))
    settings = load_settings(case.config)
    demo = load_settings(yaml.safe_load((BENCHMARKS.parent / "config" / "config.yaml").read_text(encoding="utf-8")))
    assert sorted(settings.corpus.languages) == ["de", "en", "tr"]
    assert settings.quotas("tr").total == 2 * demo.quotas("tr").total
    assert settings.distillation and demo.distillation
    assert settings.distillation.validate_every == 2 * demo.distillation.validate_every
    pairs = (tmp_path / "texts" / "tr.tsv").read_text(encoding="utf-8").splitlines()
    assert pairs[0] == "bir first sentence 0\tfirst sentence 0"
    assert len(pairs) >= settings.quotas("tr").total
