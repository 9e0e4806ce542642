"""Predictions of held-out rows, and the coverage of the interval of a new run."""

import numpy as np
import pytest

from scaling.fitting.objective import Objective
from scaling.fitting.uncertainty import extrapolation_factor, predict
from tests.helpers.surfaces import grid, made, noisy, square, surface

BEYOND = np.array([[3e10, 3e12], [1e8, 1e10]])


def test_noise_free_rows_are_predicted_exactly():
    n, d = grid()
    fitted = made({"N": n, "D": d}, surface(n, d), num_redraws=20)
    seen = surface(*BEYOND.T)
    held = predict(fitted, BEYOND, seen)
    assert held.relative_errors == pytest.approx(0, abs=1e-9)
    assert held.low == pytest.approx(seen) and held.high == pytest.approx(seen)


@pytest.mark.parametrize("space", ["log", "raw"])
@pytest.mark.parametrize("num_redraws", [0, 100])
def test_new_runs_fall_into_their_intervals(space, num_redraws):
    n, d = grid(sizes=5)
    inside, trials = 0, 40
    for seed in range(trials):
        loss = noisy(surface(n, d), 0.004, seed)
        objective = Objective("mse", space)
        fitted = made({"N": n, "D": d}, loss, objective=objective, num_redraws=num_redraws)
        seen = noisy(surface(*BEYOND.T), 0.004, seed + 1000)
        inside += predict(fitted, BEYOND, seen).inside
    assert inside >= 0.85 * trials * len(BEYOND)


def test_reach_is_the_factor_beyond_the_column_left_furthest():
    fitted = square(num_redraws=0)
    x = np.array([[1e8, 1e10], [3e10, 1e10], [1e8, 2e8], [2e10, 7e12]])
    assert extrapolation_factor(fitted, x) == pytest.approx([1.0, 3.0, 5.0, 7.0])


def test_without_degrees_of_freedom_there_are_no_limits():
    n = np.array([1.0, 10, 100])
    held = predict(made({"N": n}, 3 + 2 / n**0.5), np.array([[50.0]]), np.array([3.3]))
    assert held.inside is None
