"""Goodput under failures: the formula, the simulation and the published rates."""

import math

import numpy as np
import pytest

from scaling.planning.multi_node import (
    REGIMES,
    SECONDS_PER_DAY,
    SIMULATED_FAILURES,
    CheckpointTiming,
    FailureRate,
)

HOUR = 3_600
DAY = 86_400
SAVINGS = [
    CheckpointTiming(2.0, 0.0, 90.0),
    CheckpointTiming(2.0, 30.0, 90.0),
    CheckpointTiming(60.0, 0.0, 300.0),
]


def events(saving, interval, up):
    """Return the seconds of work that survive a failure after ``up`` seconds, event by event."""
    clock, work, safe, pending = saving.recovery, 0.0, 0.0, []
    while clock < up:
        clock += interval
        work += interval
        clock += saving.blocked
        pending.append((clock + saving.behind, work))
    for durable, saved in pending:
        if durable <= up:
            safe = saved
    return safe


@pytest.mark.parametrize("saving", SAVINGS)
def test_the_simulation_equals_an_event_by_event_one(saving):
    up = np.random.default_rng(1).exponential(2_000, 300)
    assert min(up) < saving.recovery
    expected = [events(saving, 400.0, seconds) for seconds in up]
    assert saving.kept(up, 400.0).tolist() == expected


@pytest.mark.parametrize("saving", SAVINGS)
@pytest.mark.parametrize("hours", [1, 10, 1_000])
def test_the_simulation_agrees_with_the_exact_expectation(saving, hours):
    # Between failures at exponential times the number of completed intervals is geometric.
    rate = 1 / (hours * HOUR)
    interval = saving.best_interval(rate)
    cycle, first = interval + saving.blocked, saving.recovery + saving.behind
    survived = math.exp(-rate * first) * math.exp(-rate * cycle) / (1 - math.exp(-rate * cycle))
    found = saving.simulated(interval, rate)
    # The error is at most that of a ratio of two means of so many exponential times.
    assert found == pytest.approx(interval * survived * rate, rel=4 / math.sqrt(SIMULATED_FAILURES))


@pytest.mark.parametrize("saving", SAVINGS)
@pytest.mark.parametrize("hours", [4, 40, 400])
def test_the_formula_is_the_simulation_to_first_order(saving, hours):
    rate = 1 / (hours * HOUR)
    interval = saving.best_interval(rate)
    closed, found = saving.goodput(interval, rate), saving.simulated(interval, rate)
    losses = 1 - closed
    assert 0 < losses < 0.5
    # The formula omits terms of second order in the losses; the rest is sampling error.
    assert found == pytest.approx(
        closed, abs=losses**2 + 4 * losses / math.sqrt(SIMULATED_FAILURES)
    )


def test_a_seed_makes_the_simulation_and_another_another_one():
    saving, rate = SAVINGS[0], 1 / HOUR
    assert saving.simulated(300, rate, 5) == saving.simulated(300, rate, 5)
    assert saving.simulated(300, rate, 5) != saving.simulated(300, rate, 6)


def test_no_interval_is_better_than_the_best_one():
    saving, rate = SAVINGS[0], 1 / (2 * HOUR)
    best = saving.best_interval(rate)
    assert best == pytest.approx(math.sqrt(2 * 2.0 * 2 * HOUR))
    for other in (0.5 * best, 0.9 * best, 1.1 * best, 2 * best):
        assert saving.goodput(other, rate) < saving.goodput(best, rate)


def test_checkpoints_are_no_closer_than_one_takes_to_be_safe():
    slow = CheckpointTiming(0.01, 500.0, 60.0)
    assert slow.best_interval(1 / HOUR) == 500.0


def test_the_design_target_of_twelve_faults_a_day_is_the_formulas():
    # A checkpoint of 2 s every 5 minutes, and 90 s of recovery.
    saving = CheckpointTiming(2.0, 0.0, 90.0)
    assert saving.goodput(300.0, 12 / DAY) == pytest.approx(0.960, abs=5e-4)
    assert saving.goodput(300.0, 1 / DAY) >= 0.99


def test_faster_failures_than_a_run_recovers_from_leave_nothing():
    saving = CheckpointTiming(10.0, 0.0, HOUR)
    assert saving.goodput(saving.best_interval(1 / 60), 1 / 60) == 0.0
    assert saving.simulated(saving.best_interval(1 / 60), 1 / 60) == 0.0


def test_failures_add_up_over_accelerators_and_nodes():
    failures = FailureRate("X", 1_000.0, 3.0)
    assert failures.per_second(4, 32) == pytest.approx(32 / (1_000 * HOUR) + 12 / DAY)


def test_the_published_rates_are_those_of_their_clusters():
    llama, fair, spot = REGIMES
    assert 16_384 * 54 * 24 / 419 == pytest.approx(llama.hours, rel=0.02)
    assert 7.9 * 1_024 == pytest.approx(fair.hours, rel=0.02)
    assert spot.per_second(4, 0) == pytest.approx(12 / DAY)
    assert SECONDS_PER_DAY == 24 * HOUR
