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
    factors = rates(11, decay="cosine", warmup=0)
    assert factors[0] == 1
    assert factors[5] == pytest.approx((1 + math.cos(math.pi * 5 / 11)) / 2)
    assert factors[-1] > 0


def test_a_constant_rate_without_warmup_stays():
    assert rates(decay="constant", warmup=0) == [1.0] * 10


def test_what_becomes_trainable_is_warmed_up_again():
    assert rates(decay="constant", warmup=0.2, new_rows_only=0.5) == [0.5, 1, 1, 1, 1, 0.5, 1, 1, 1, 1]


@pytest.mark.parametrize(("steps", "warmup"), [(50, 0.01), (149, 0.01), (1, 1e-6), (2, 0.5)])
def test_a_short_run_warms_up_too(steps, warmup):
    assert rates(steps, decay="constant", warmup=warmup) == [0.5, *[1.0] * (steps - 1)]


@settings(deadline=None)
@given(st.sampled_from(["linear", "cosine", "constant"]), st.floats(1e-6, 1), SHARES, SHARES, st.integers(1, 400))
def test_every_phase_with_a_warmup_starts_at_half_of_the_peak_or_below(decay, warmup, first, second, steps):
    shares = DistillationSettings(decay=decay, warmup=warmup, new_rows_only=first, embeddings_only=second)
    for phase in plan_phases(shares, steps):
        assert 0 < rate_factor(shares, phase, phase.start, steps) <= 0.5


def test_a_long_run_warms_up_over_its_share_of_the_steps():
    assert rates(1_000, warmup=0.01)[:12] == pytest.approx([*(step / 10 for step in range(1, 11)), 1.0, 1 - 1 / 990])


@settings(deadline=None)
@given(st.sampled_from(["linear", "cosine", "constant"]), st.floats(0, 1), SHARES, SHARES, st.integers(1, 200))
def test_every_step_has_a_rate_and_none_exceeds_the_peak(decay, warmup, first, second, steps):
    factors = rates(steps, decay=decay, warmup=warmup, new_rows_only=first, embeddings_only=second)
    assert all(0 < factor <= 1 for factor in factors)
