"""Designs of sweeps for a budget, and the expected errors of their fits."""

import numpy as np
import pytest

from scaling.cli.design_tables import sweep_text
from scaling.config import load
from scaling.config.load import ConfigError
from scaling.planning.cost import cost
from scaling.planning.data_throughput import STREAM_RECORD, StreamMeasurement
from scaling.planning.design import design, operations
from scaling.planning.design_errors import AssumedEffect, expected_errors, surface
from tests.helpers.clone import CLONE

DEMO = CLONE / "configs/runs/demo.yaml"
CONTEXTS = {"model.context": [8_000, 64_000, 512_000]}


def made(axes=CONTEXTS, kind="equal-data", budget=1e15, price=operations, **how):
    return design(load.content(DEMO), axes, kind, budget, price, **how)


def test_an_equal_data_design_spends_the_budget_on_as_many_targets_for_every_run():
    found = made({**CONTEXTS, "model.layers": [1, 4]})
    assert len(found.cells) == 6
    assert len({cell.targets for cell in found.cells}) == 1
    assert 0.99e15 < found.price <= 1e15
    assert found.price == sum(operations(cell.config) * cell.seeds for cell in found.cells)


def test_the_runs_of_an_isoflop_budget_cost_the_same_and_the_budgets_are_three_times_apart():
    found = made({"model.width": [16, 32, 64]}, "isoflop", budgets=3)
    prices = np.array([cell.price for cell in found.cells]).reshape(3, 3)
    assert np.allclose(prices / prices[:, :1], 1, rtol=0.02)
    assert np.allclose(prices[1:] / prices[:-1], 3, rtol=0.05)
    assert found.price <= 1e15


def test_a_budget_of_dollars_is_spent_at_the_hardwares_price():
    hardware = load.hardware(CLONE / "configs/hardware/a100.yaml")
    measured = StreamMeasurement.read(STREAM_RECORD)

    def price(config):
        return cost(config, None, hardware, measured, 1).dollars

    found = made(budget=20.0, price=price)
    assert 19 < found.price <= 20


def test_seeds_go_to_the_ends_of_the_axes():
    found = made({"model.context": [8_000, 32_000, 128_000, 512_000]}, seeds=4)
    assert [cell.seeds for cell in found.cells] == [3, 1, 1, 3]
    corners = made({**CONTEXTS, "model.layers": [1, 2, 4]}, seeds=4)
    twice = [cell.values for cell in corners.cells if cell.seeds == 2]
    ends = {(c, n) for c in (8_000, 512_000) for n in (1, 4)}
    assert {(v["model.context"], v["model.layers"]) for v in twice} == ends


def test_a_budget_below_one_step_of_every_run_is_refused():
    with pytest.raises(ConfigError, match=r"is below one step of every run: give more"):
        made(budget=1e9)


def test_a_combination_that_cannot_run_is_named():
    with pytest.raises(ConfigError, match=r"model\.context=8001: model\.context is 8001"):
        made({"model.context": [8_000, 8_001]})


def test_the_written_sweep_is_the_design(tmp_path):
    found = made({**CONTEXTS, "model.layers": [1, 2]}, seeds=3)
    path = tmp_path / "sweep.yaml"
    path.write_text(sweep_text(found, load.content(DEMO), "demo.yaml"))
    runs = [config for _, config in load.sweep(path).runs]
    assert len(runs) == 9
    assert sum(map(operations, runs)) == pytest.approx(found.price)
    assert {run.windows.history for run in runs} == {1_024_000}
    bare = load.content(DEMO)
    del bare["windows"]["history"]
    path.write_text(sweep_text(design(bare, CONTEXTS, "equal-data", 1e15, operations), bare, "x"))
    assert {run.windows.history for _, run in load.sweep(path).runs} == {512_000}


def test_noise_free_simulations_return_the_guessed_law():
    found = made({"model.context": [8_000, 32_000, 128_000, 512_000]})
    guesses = {"model.context": AssumedEffect(0.1, 0.4)}
    errors = {one.quantity: one for one in expected_errors(found, 1e-9, guesses, simulations=3)}
    exponent = errors["model.context.exponent"]
    assert exponent.truth == pytest.approx(0.4, abs=1e-4)
    assert exponent.standard_error < 1e-4
    _, loss = surface(found, guesses)
    assert loss[0] - loss[-1] == pytest.approx(0.1 * (1 - 64**-0.4))


def test_the_error_of_the_slope_is_that_of_least_squares():
    found = made({"model.context": [8_000, 32_000, 128_000, 512_000]}, seeds=0)
    errors = expected_errors(found, 0.002, {}, simulations=200)
    slope = next(one for one in errors if one.quantity.endswith("a doubling"))
    doublings = np.log2([8_000, 32_000, 128_000, 512_000])
    by_formula = 0.002 / np.sqrt(np.sum((doublings - doublings.mean()) ** 2))
    assert slope.standard_error == pytest.approx(by_formula, rel=0.15)


def test_a_small_error_of_an_exponent_equals_that_of_the_delta_method():
    contexts = [1_000, 8_000, 32_000, 256_000]
    found = made({"model.context": contexts, "model.chunk": [500, 1_000]}, seeds=0)
    x = np.array(contexts) / 1_000
    r, g, noise = 0.1, 0.3, 0.0005
    gradient = np.column_stack([np.ones(4), x**-g, -r * np.log(x) * x**-g])
    # Two chunks without an effect are two runs of each context.
    variance = noise**2 / 2 * np.linalg.inv(gradient.T @ gradient)[2, 2]
    errors = expected_errors(found, noise, {"model.context": AssumedEffect(r, g)}, simulations=300)
    exponent = next(one for one in errors if one.quantity == "model.context.exponent")
    # A narrow Huber loss is nearly an absolute error, with up to pi / 2 the variance of squares.
    ratio = exponent.standard_error / np.sqrt(variance)
    assert 0.85 < ratio < 1.15 * np.sqrt(np.pi / 2)


def test_an_isoflop_design_is_expected_to_find_the_exponent_of_the_best_size():
    found = made({"model.width": [8, 16, 32, 64, 128, 256]}, "isoflop", 1e17)
    guesses = {"size": AssumedEffect(0.5, 0.4), "data": AssumedEffect(0.5, 0.3)}
    errors = {one.quantity: one for one in expected_errors(found, 1e-6, guesses, simulations=3)}
    assert errors["size.exponent"].truth == pytest.approx(0.4, abs=1e-3)
    assert errors["data.exponent"].truth == pytest.approx(0.3, abs=1e-3)
    assert any(name.startswith("best size in the budget") for name in errors)
