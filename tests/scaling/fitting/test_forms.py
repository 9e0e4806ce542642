"""Forms: their gradients, and the agreement of their parameters with their formulas."""

import numpy as np
import pytest

from scaling.fitting.forms import FORMS, Additive, Overtraining
from scaling.fitting.slope import FitError

CENTRES = np.array([1e8, 1e9, 2000.0])
POSITION = np.random.default_rng(0).normal(size=(12, 3))
LOSS = 3 + np.random.default_rng(1).random(12)


def powers(name, values, n, d):
    a, b = values["N.coefficient"], values["D.coefficient"]
    alpha, beta = values["N.exponent"], values["D.exponent"]
    if name == "shifted":
        n, d = n + values["N.shift"], d + values["D.shift"]
    if name == "overtraining":
        ratio, compute = d / n, 6 * n * d
        eta = values["eta"]
        return (values["a"] * ratio**eta + values["b"] * ratio**-eta) * compute**-eta
    return (a / n**alpha + b / d**beta) ** values.get("coupling", 1)


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param](("N", "D"), ("chunk",))


@pytest.fixture
def parameters(form):
    starts = form.starts(LOSS, 5, np.random.default_rng(2))
    starts[:, -2:] = [0.05, 0.1]
    return starts


def test_gradient_is_the_derivative_of_the_curve(form, parameters):
    step = 1e-6
    slopes = [
        (
            form.curve(parameters + step * one, POSITION)[0]
            - form.curve(parameters - step * one, POSITION)[0]
        )
        / (2 * step)
        for one in np.eye(form.num_parameters)
    ]
    assert form.curve(parameters, POSITION)[1] == pytest.approx(np.stack(slopes, axis=2), abs=1e-6)


def test_natural_parameters_give_the_same_losses_by_the_formula(form, parameters):
    losses, _ = form.curve(parameters, POSITION)
    for index in range(len(parameters)):
        values = {
            key: value[index] for key, value in form.named_parameters(parameters, CENTRES).items()
        }
        n, d, chunk = (CENTRES * np.exp(POSITION)).T
        bend = values["chunk.curvature"] * np.log(chunk / values["chunk.optimum"]) ** 2
        expected = values["E"] + powers(form.name, values, n, d) + bend
        assert losses[index] == pytest.approx(expected, rel=1e-9)


def test_starts_lie_in_the_box_and_pass_through_the_losses(form):
    lower, upper = form.bounds(LOSS)
    starts = form.starts(LOSS, 50, np.random.default_rng(3))
    assert lower.shape == upper.shape == (form.num_parameters,)
    assert np.all((lower <= starts) & (starts <= upper))
    at_centre = form.curve(starts, np.zeros((1, 3)))[0]
    assert at_centre == pytest.approx(LOSS.mean())


def test_a_parabola_without_a_lowest_point_has_no_optimum():
    form = Additive(("N",), ("chunk",))
    values = form.named_parameters(np.array([[2.0, 1.0, 0.3, 0.1, -0.2]]), CENTRES[[0, 2]])
    assert np.isnan(values["chunk.optimum"][0]) and values["E"][0] == 2.0


def test_forms_refuse_the_wrong_number_of_terms():
    with pytest.raises(FitError, match="has 1 terms: it takes two"):
        Overtraining(("N",))
    with pytest.raises(FitError, match="at least one term"):
        Additive(())
