from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.schedule import Phase, phase_at, plan_phases, rate_factor


def test_phases_follow_the_shares_of_the_steps():
    shares = DistillationSettings(new_rows_only=0.2, embeddings_only=0.3)
    assert plan_phases(shares, 100) == (
        Phase("new rows", 0, 20),
        Phase("embeddings", 20, 50),
        Phase("everything", 50, 100),
    )


def test_by_default_everything_is_trained_at_once():
    assert plan_phases(DistillationSettings(), 10) == (Phase("everything", 0, 10),)


def test_without_new_rows_their_steps_train_all_embeddings():
    shares = DistillationSettings(new_rows_only=0.2, embeddings_only=0.3)
    assert plan_phases(shares, 100, new_rows=False) == (Phase("embeddings", 0, 50), Phase("everything", 50, 100))


SHARES = st.floats(0, 0.5)


@settings(deadline=None)
@given(SHARES, SHARES, st.integers(1, 300), st.booleans())
def test_every_step_lies_in_exactly_one_phase(first, second, steps, new_rows):
    phases = plan_phases(DistillationSettings(new_rows_only=first, embeddings_only=second), steps, new_rows=new_rows)
    assert [phase.start for phase in phases] == [0, *(phase.end for phase in phases[:-1])]
    assert phases[-1].end == steps
    assert all(phase_at(phases, step) in phases for step in range(steps))


def rates(steps: int = 10, **settings) -> list[float]:
    chosen = DistillationSettings(**settings)
    phases = plan_phases(chosen, steps)
    return [rate_factor(chosen, phase_at(phases, step), step, steps) for step in range(steps)]


def test_the_rate_rises_to_its_peak_and_falls_linearly():
    assert rates(warmup=0.2) == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


def test_cosine_decay_is_half_way_in_the_middle():
    found = rates(11, decay="cosine", warmup=0)
    assert found[0] == 1
    assert found[5] == pytest.approx((1 + math.cos(math.pi * 5 / 11)) / 2)
    assert found[-1] > 0


def test_a_constant_rate_stays():
    assert rates(decay="constant", warmup=0.1) == [1.0] * 10


def test_what_thaws_is_warmed_up_again():
    found = rates(decay="constant", warmup=0.2, new_rows_only=0.5)
    assert found == [0.5, 1, 1, 1, 1, 0.5, 1, 1, 1, 1]


@settings(deadline=None)
@given(st.sampled_from(["linear", "cosine", "constant"]), st.floats(0, 1), SHARES, SHARES, st.integers(1, 200))
def test_every_step_has_a_rate_and_none_exceeds_the_peak(decay, warmup, first, second, steps):
    found = rates(steps, decay=decay, warmup=warmup, new_rows_only=first, embeddings_only=second)
    assert all(0 < rate <= 1 for rate in found)
