"""Profiles of equal cost: runs that form one, and runs that do not."""

from scaling.analysis.records import PROFILES, budgets
from tests.helpers import known_laws


def test_runs_that_trade_targets_for_width_at_one_cost_are_a_profile():
    records = known_laws.records()
    found = budgets(records, PROFILES["shape"])
    members = [run for run, budget in zip(records, found, strict=True) if budget]
    assert {round(budget, -14) for budget in found if budget} == {3e15, 1e16, 3e16, 1e17, 3e17}
    assert len(members) == 5 * len(known_laws.WIDTHS)
    for run, budget in zip(records, found, strict=True):
        if budget:
            assert abs(run.operations.total / budget - 1) < 0.02


def test_chunks_at_one_cost_are_another_profile():
    records = known_laws.records()
    found = budgets(records, PROFILES["chunk"])
    profiles: dict[float, set[int]] = {}
    for run, budget in zip(records, found, strict=True):
        if budget:
            profiles.setdefault(budget, set()).add(run.axes["model.chunk"])
            assert abs(run.operations.total / budget - 1) < 0.02
    assert list(profiles.values()) == [{500, 1_000, 2_000, 4_000, 8_000}] * 2


def test_runs_of_one_length_are_no_profile_at_any_cost():
    records = [run for run in known_laws.records() if run.axes["train.steps"] == 2_500]
    assert not any(budgets(records, PROFILES["shape"]))
