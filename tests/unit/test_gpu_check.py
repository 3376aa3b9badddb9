"""The check of a GPU, on a CPU and a model that is next to nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gpu_check
from gpu_check import SIZES, Device, Size, World

TINY = Size(16, 2, 2, 8, 32, 512, 256, 20, 64, passages=120, batch=8, steps=8)


def test_work_is_counted_by_hand():
    size = replace(TINY, layers=1)
    # Query 16 x 16, key and value 16 x 8 each, output 16 x 16, three products of 16 x 32.
    weights = 256 + 2 * 128 + 256 + 3 * 512
    # Scores and their sums: 2 x 16 products and sums for each pair of tokens.
    assert size.flops([10, 20]) == 2 * weights * 30 + 2 * 2 * 16 * (100 + 400)
    assert Size().flops([1]) == pytest.approx(2 * 113e6, rel=0.2), (
        "EmbeddingGemma has a hundred million weights in its layers"
    )


def test_lengths_are_those_of_the_size():
    lengths = sorted(SIZES["default"].lengths())
    assert (lengths[0] >= 4, lengths[-1] <= 2_048) == (True, True)
    assert lengths[len(lengths) // 2] == pytest.approx(300, rel=0.05)


@pytest.mark.timeout(300)
def test_both_stages_run_and_are_measured(tmp_path):
    device = Device("cpu")
    world = World.build(tmp_path, TINY, device)
    teacher = gpu_check._teacher(world, TINY, device)
    training = gpu_check._training(world, TINY, device)
    for stage in (teacher, training):
        assert min(stage.passages_per_s, stage.tokens_per_s, stage.memory_gb, stage.seconds) > 0
        assert 0 < stage.peak_share < 1
        assert stage.tokens_per_s / stage.passages_per_s == pytest.approx(20, rel=0.4)
    paper = gpu_check._paper(
        replace(teacher, passages_per_s=1_000.0), replace(training, passages_per_s=500.0), 10.0, 3.0
    )
    assert paper["hours"] == pytest.approx((580 + 1_160 + 160) / 3_600, abs=0.01)
    assert paper["cost"] == pytest.approx(3 * paper["hours"], abs=0.02)
