"""Each diagnostic has a data set that causes it, and clean data cause none."""

import numpy as np
import pytest

from scaling.fitting.diagnostics import (
    data_diagnostics,
    fit_diagnostics,
    refit_diagnostics,
    row_noise,
)
from scaling.fitting.forms import Additive
from scaling.fitting.objective import Objective
from scaling.fitting.uncertainty import uncertainty
from tests.helpers.surfaces import design, grid, made, noisy, surface

N, D = grid()


def found(columns, loss, form=None, objective=None, labels=None, num_redraws=60):
    fitted = made(columns, loss, form, objective, labels, num_redraws=num_redraws)
    known = uncertainty(fitted)
    findings = [
        *data_diagnostics(fitted.points, fitted.form),
        *fit_diagnostics(fitted, known, row_noise(fitted)),
        *refit_diagnostics(fitted, known),
    ]
    return {finding.code: finding.text for finding in findings}


def with_chunk(bend, best=2000.0):
    """Add a column of chunks to a grid of N and D, and a parabola in its logarithm to the loss."""
    n, d, chunk = (
        column.ravel()
        for column in np.meshgrid(
            np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 4), np.geomspace(500, 8000, 5)
        )
    )
    loss = noisy(surface(n, d) + bend * np.log(chunk / best) ** 2, 0.002)
    return {"N": n, "D": d, "chunk": chunk}, loss, Additive(("N", "D"), ("chunk",))


def ridge():
    n = np.geomspace(1e7, 1e10, 30)
    d = 20 * n * np.exp(0.3 * np.random.default_rng(0).normal(size=30))
    return {"N": n, "D": d}, noisy(surface(n, d), 0.002)


def far_point():
    """Return a power law whose largest run deviates and alone determines E."""
    x = np.append(np.geomspace(1e3, 1e4, 12), 1e6)
    loss = 2 + 3 * (x / 1e3) ** -0.5
    loss[-1] += 0.4
    return {"x": x}, noisy(loss, 0.001), None, Objective("mse")


def outliers():
    n, d, loss = design()
    loss[[0, 1, 6]] *= 1.15
    return {"N": n, "D": d}, loss


def two_valleys():
    """Return two equal columns, of which either may have the steeper power."""
    x = np.geomspace(1e3, 1e7, 20)
    loss = 2 + 3 * (x / 1e3) ** -0.15 + 1 * (x / 1e3) ** -0.9
    return {"N": x, "D": x}, noisy(loss, 0.0002)


def clusters():
    """Return ten rows for each of 16 configurations, which deviate from the surface together."""
    n, d = grid(sizes=4)
    n, d = np.repeat(n, 10), np.repeat(d, 10)
    shared = np.repeat(noisy(np.ones(16), 0.01), 10)
    loss = noisy(surface(n, d) * shared, 0.0005)
    return {"N": n, "D": d}, loss, None, Objective("mse"), np.repeat(np.arange(16), 10).tolist()


def rows(chosen):
    n, d, loss = design()
    return {"N": n[chosen], "D": d[chosen]}, loss[chosen]


CASES = {
    "few_configurations": rows([0, 1, 2, 7, 14, 20, 35]),
    "narrow_range": (dict(zip("ND", design(decades=0.8)[:2], strict=True)), design(decades=0.8)[2]),
    "design_ridge": ridge(),
    "no_fall": ({"N": N, "D": D}, 2 + 400 / N**0.35 + 0.3 * (D / 1e12) ** 0.1),
    "small_fall": ({"N": N, "D": D}, noisy(2 + 400 / N**0.35 + 0.02 * (D / 1e9) ** -0.3, 0.01)),
    "irreducible_at_zero": ({"N": N, "D": D}, noisy(48 / N**0.15 + 21 / D**0.1, 0.01, seed=1)),
    "exponent_implausible": ({"N": N, "D": D}, noisy(2 + 1e13 / N**1.9 + 400 / D**0.3, 0.001)),
    "influential_run": far_point(),
    "objective_sensitive": outliers(),
    "several_optima": two_valleys(),
    "intervals_disagree": clusters(),
    "not_convex": with_chunk(-0.01),
    "not_bracketed": with_chunk(0.02, best=100_000.0),
}


@pytest.mark.parametrize("code", CASES)
def test_each_diagnostic_has_its_case(code):
    findings = found(*CASES[code])
    assert code in findings
    assert findings[code][0].isupper() and findings[code].endswith(".")


@pytest.mark.parametrize("deviation", [0.0, 0.0005, 0.003])
@pytest.mark.parametrize("kind", ["huber", "mse"])
def test_a_clean_design_has_no_finding(deviation, kind):
    n, d, loss = design(deviation, sizes=8)
    assert found({"N": n, "D": d}, loss, objective=Objective(kind), num_redraws=200) == {}


def test_a_noise_free_surface_has_no_finding_by_absolute_errors():
    n, d, loss = design(0.0)
    assert found({"N": n, "D": d}, loss, objective=Objective("asymmetric")) == {}


def test_a_clean_parabola_has_no_finding():
    assert found(*with_chunk(0.02), num_redraws=200) == {}


def test_replicates_give_the_noise_and_residuals_do_otherwise():
    n, d, loss = design(0.003)
    twice = made({"N": np.tile(n, 2), "D": np.tile(d, 2)}, np.append(loss, loss + 0.1))
    assert row_noise(twice) == pytest.approx(0.1 / 2**0.5)
    once = made({"N": n, "D": d}, loss, objective=Objective("mse", "raw"), num_redraws=0)
    expected = np.sqrt(np.sum((once.predicted - loss) ** 2) / (36 - 5))
    assert row_noise(once) == pytest.approx(expected)
