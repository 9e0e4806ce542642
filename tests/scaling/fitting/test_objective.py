"""Objectives: their values, derivatives, and the widths of a fit in turn."""

import numpy as np
import pytest
from scipy.special import huber

from scaling.fitting.objective import Objective

RESIDUALS = np.array([-0.3, -2e-3, -5e-4, 0.0, 5e-4, 2e-3, 0.3])
SEEN = np.array([2.0, 3.0, 4.0])


def test_huber_terms_are_those_of_the_textbook():
    terms = Objective("huber", delta=1e-3).losses(RESIDUALS)
    assert terms == pytest.approx(huber(1e-3, RESIDUALS))


def test_squares_and_weighted_absolute_errors():
    assert Objective("mse").losses(RESIDUALS) == pytest.approx(RESIDUALS**2)
    weighted = Objective("asymmetric").losses(RESIDUALS)
    assert weighted == pytest.approx(np.where(RESIDUALS > 0, 10 * RESIDUALS, -RESIDUALS))


@pytest.mark.parametrize("kind", ["huber", "mse", "asymmetric"])
def test_weights_are_the_derivative_over_the_residual(kind):
    objective, width, step = Objective(kind), 1e-3, 1e-8
    where = RESIDUALS[RESIDUALS != 0]
    slope = objective.losses(where + step, width) - objective.losses(where - step, width)
    assert objective.weights(where, width) * where == pytest.approx(slope / (2 * step), rel=1e-5)


def test_residuals_are_of_the_logarithm_or_of_the_loss():
    predicted = SEEN * 1.01
    assert Objective(space="log").residual(predicted, SEEN) == pytest.approx(np.log(1.01))
    assert Objective(space="raw").residual(predicted, SEEN) == pytest.approx(0.01 * SEEN)


def test_widths_narrow_to_the_objectives_own():
    widths = Objective(delta=1e-4).widths(SEEN)
    assert (widths[0], widths[-1]) == (0.1, 1e-4)
    assert np.all(np.diff(widths) < 0) and max(np.divide(widths[:-1], widths[1:])) < 3.01
    assert Objective(delta=1.0).widths(SEEN) == [1.0]
    assert Objective("mse").widths(SEEN) == [np.inf]
    assert Objective("asymmetric", "raw").widths(SEEN)[-1] == pytest.approx(3e-9)


@pytest.mark.parametrize("delta", [1e-9, 1e-1, 1e3])
def test_mean_curvature_is_that_of_the_distribution_of_the_residuals(delta):
    """For normal residuals, the mean of psi' is the share of residuals within delta."""
    scale = 0.01
    residuals = scale * np.random.default_rng(0).normal(size=100_000)
    expected = min(1.0, 2 * delta / (scale * np.sqrt(2 * np.pi)))
    found = Objective(delta=delta).curvature(residuals, 3)
    assert found == pytest.approx(expected, rel=0.05)
