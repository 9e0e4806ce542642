"""The optimizer of many fits agrees with scipy, and a weight is a repeated row."""

import numpy as np
import pytest
from scipy.optimize import minimize

from scaling.fitting.fit import fit_problem
from scaling.fitting.forms import Additive
from scaling.fitting.minimise import minimise
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points
from tests.helpers.surfaces import design

FORM = Additive(("N", "D"))


def solved(points, objective, weights, number=12):
    problem = fit_problem(points, FORM, objective)
    starts = FORM.starts(points.loss, number, np.random.default_rng(0))
    many = np.tile(weights, (number, 1))
    widths = objective.widths(points.loss)
    return problem, minimise(problem, many, starts, widths=widths, iterations=400, tolerance=1e-13)


@pytest.fixture
def points():
    n, d, loss = design()
    return Points.of({"N": n, "D": d}, loss)


@pytest.mark.parametrize("objective", [Objective(), Objective("mse"), Objective("mse", "raw")])
def test_no_start_of_scipy_finds_a_lower_objective(points, objective):
    problem, optima = solved(points, objective, np.ones(36))
    best = optima.values.min()

    def scaled(parameters):
        residual, gradient = problem.residuals(parameters[None])
        pull = objective.pull(residual[0])
        return objective.losses(residual[0]).sum() / best, pull @ gradient[0] / best

    bounds = list(zip(problem.lower, problem.upper, strict=True))
    others = FORM.starts(points.loss, 5, np.random.default_rng(1))
    for start in [optima.parameters[0] * 1.02, *others]:
        with np.errstate(all="ignore"):  # scipy tries a loss of zero
            found = minimize(scaled, start, jac=True, method="L-BFGS-B", bounds=bounds)
        assert found.fun >= 1 - 1e-6
    assert np.all(optima.converged)


def test_absolute_errors_end_at_the_linear_programs_optimum():
    """The median has the least absolute deviations."""
    loss = np.array([2.0, 2.1, 2.2, 3.9, 2.05])
    points = Points.of({"N": np.array([1.0, 2, 4, 8, 16])}, loss)
    form, objective = Additive(("N",)), Objective("huber", "raw", 1e-9)
    problem = fit_problem(points, form, objective)
    problem.upper[1] = 0.0  # no term: E alone
    starts = form.starts(loss, 4, np.random.default_rng(0))
    found = minimise(
        problem,
        np.ones((4, 5)),
        starts,
        widths=objective.widths(loss),
        iterations=300,
        tolerance=1e-13,
    )
    assert found.parameters[:, 0] == pytest.approx([2.1] * 4)


def test_a_row_of_weight_two_equals_two_rows(points):
    weights = np.ones(36)
    weights[[3, 20]] = 2, 0
    once = [row for row in range(36) if row != 20] + [3]
    columns = dict(zip(points.names, points.x[once].T, strict=True))
    doubled = Points.of(columns, points.loss[once])
    objective = Objective("mse")
    _, weighted = solved(points, objective, weights)
    _, repeated = solved(doubled, objective, np.ones(36))
    assert weighted.values.min() == pytest.approx(repeated.values.min(), rel=1e-9)


def test_parameters_stay_in_their_box(points):
    rising = Points.of(dict(zip(points.names, points.x.T, strict=True)), 5 - points.loss)
    problem, optima = solved(rising, Objective(), np.ones(36))
    assert np.all((problem.lower <= optima.parameters) & (optima.parameters <= problem.upper))
    assert np.all(np.isfinite(optima.values))
