"""Intervals: their coverage of the truth, and None without degrees of freedom."""

import numpy as np
import pytest

from scaling.fitting.fit import fit
from scaling.fitting.forms import Additive
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points
from scaling.fitting.uncertainty import percentile_interval, uncertainty, wald
from tests.helpers.surfaces import TRUTH, grid, made, noisy, square, surface

REPLICATES = 100
WATCHED = ("E", "N.exponent", "D.exponent")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["huber", "mse"])
@pytest.mark.parametrize("deviation", [0.002, 0.006])
def test_intervals_cover_the_truth_on_sixteen_configurations(kind, deviation):
    n, d = grid(sizes=4, decades=2.0)
    truth = TRUTH["D.exponent"] / (TRUTH["N.exponent"] + TRUTH["D.exponent"])
    redrawn = dict.fromkeys([*WATCHED, "compute"], 0)
    by_wald = dict.fromkeys(WATCHED, 0)
    for seed in range(REPLICATES):
        loss = noisy(surface(n, d), deviation, seed)
        fitted = made({"N": n, "D": d}, loss, objective=Objective(kind), seed=seed)
        values = fitted.form.named_parameters(fitted.redraws, fitted.points.centres)
        # For a cost of 6 N D the best N grows with this power of the cost (test_frontier.py).
        compute = values["D.exponent"] / (values["N.exponent"] + values["D.exponent"])
        low, high = percentile_interval(compute)
        redrawn["compute"] += low < truth < high
        for counts, known in ((redrawn, uncertainty(fitted)), (by_wald, wald(fitted))):
            for name in WATCHED:
                low, high = known.intervals[name]
                counts[name] += low < TRUTH[name] < high
    assert min(redrawn.values()) >= 0.88 * REPLICATES, redrawn
    assert min(by_wald.values()) >= 0.88 * REPLICATES, by_wald


def test_least_squares_errors_of_a_line_are_those_of_the_textbook():
    """If the loss is nearly E alone, E has the standard error of a mean."""
    loss = 3 + 0.01 * np.random.default_rng(0).normal(size=400)
    n = np.tile([1.0, 10, 100, 1000], 100)
    known = wald(made({"N": n}, loss + 2 / n, objective=Objective("mse", "raw"), num_redraws=0))
    assert known.method == "wald"
    at_most = np.tile([0.0, 0.0, 0.0, 1.0], 100).sum() ** -0.5 * 0.01
    assert 0.7 * at_most < known.standard_errors["E"] < 1.3 * at_most


def test_rows_of_one_configuration_count_once():
    n, d = grid()
    loss = noisy(surface(n, d), 0.003)
    thrice = {"N": np.repeat(n, 3), "D": np.repeat(d, 3)}
    labels = np.repeat(np.arange(36), 3).tolist()
    once = uncertainty(made({"N": n, "D": d}, loss))
    copied = uncertainty(made(thrice, np.repeat(loss, 3), labels=labels))
    assert copied.standard_errors["E"] == pytest.approx(once.standard_errors["E"], rel=0.3)
    naive = uncertainty(made(thrice, np.repeat(loss, 3), labels=list(range(108))))
    assert naive.standard_errors["E"] < 0.8 * once.standard_errors["E"]


def test_without_redraws_the_intervals_are_wald():
    assert uncertainty(square(num_redraws=0)).method == "wald"
    assert uncertainty(square(num_redraws=20)).method == "bootstrap"


def test_without_degrees_of_freedom_there_is_no_interval():
    n = np.array([1.0, 10, 100])
    points = Points.of({"N": n}, 3 + 2 / n**0.5)
    known = uncertainty(fit(points, Additive(("N",)), Objective()))
    assert known.method is None
    assert set(known.intervals.values()) == set(known.standard_errors.values()) == {None}
