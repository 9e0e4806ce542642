"""Comparison of forms: the true form scores best, and left-out errors come from refits."""

import numpy as np
import pytest

from scaling.fitting.fit import fit_problem, refit
from scaling.fitting.forms_compared import aicc, compare_forms, left_out_error
from scaling.fitting.objective import Objective
from tests.helpers.surfaces import grid, made, noisy, square

N, D = grid()


def scores(loss, names=("N", "D")):
    columns = dict(zip(names, (N, D), strict=False))
    return {score.name: score for score in compare_forms(made(columns, loss, num_redraws=0))}


@pytest.mark.parametrize(
    ("truth", "loss"),
    [
        ("coupled", 1.8 + (480 / N**0.5 + 2100 / D**0.45) ** 0.6),
        ("additive without D", 1.8 + 480 / N**0.35),
        ("additive without E", 48 / N**0.15 + 210 / D**0.3),
    ],
)
def test_the_form_that_made_the_losses_has_the_lowest_criterion(truth, loss):
    found = scores(noisy(loss, 0.002))
    assert min(found.values(), key=lambda score: score.aicc).name == truth
    errors = {name: score.left_out_error for name, score in found.items()}
    assert errors[truth] < 1.3 * min(errors.values())


def test_forms_that_do_not_suit_the_columns_are_left_out_or_have_the_reason():
    n = np.geomspace(1e7, 1e9, 3)
    loss = 1.8 + 480 / n**0.35
    found = {score.name: score for score in compare_forms(made({"N": n}, loss, num_redraws=0))}
    assert "overtraining" not in found
    assert "cannot determine the 4 parameters" in found["shifted"].problem
    assert found["shifted"].aicc is None


def test_the_criterion_is_that_of_normal_errors():
    squares = square(num_redraws=0, objective=Objective("mse"))
    rows, fitted = 36, 6
    likelihood = rows * np.log(np.mean(squares.residual**2))
    expected = likelihood + 2 * fitted + 2 * fitted * (fitted + 1) / (rows - fitted - 1)
    assert aicc(squares) == pytest.approx(expected)


def test_left_out_errors_are_those_of_a_fit_of_the_other_rows():
    chosen = square(num_redraws=0)
    errors = []
    for index in range(36):
        rest = np.arange(36) != index
        columns = dict(zip(("N", "D"), chosen.points.x[rest].T, strict=True))
        without = made(columns, chosen.points.loss[rest], num_redraws=0)
        predicted = without.at(chosen.points.x[[index]])[0]
        errors.append(abs(predicted / chosen.points.loss[index] - 1))
    assert left_out_error(chosen) == pytest.approx(np.mean(errors), rel=1e-3)


def test_refits_start_from_the_best_and_lose_nothing_by_it():
    chosen = square(num_redraws=0)
    problem = fit_problem(chosen.points, chosen.form, chosen.objective)
    again = refit(problem, np.ones((1, 36)), chosen.parameters[None])
    assert again[0] == pytest.approx(chosen.parameters, rel=1e-4)
