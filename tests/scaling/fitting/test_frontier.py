"""The frontier: the closed form for a product, and the lowest loss for other costs."""

import numpy as np
import pytest

from scaling.fitting.forms import Additive
from scaling.fitting.frontier import frontier
from scaling.fitting.slope import FitError
from tests.helpers.surfaces import TRUTH, grid, made, square, surface

ALPHA, BETA = TRUTH["N.exponent"], TRUTH["D.exponent"]


def product(x):
    return 6 * x[:, 0] * x[:, 1]


def with_attention(x):
    return 6 * x[:, 0] * x[:, 1] + 6e4 * x[:, 0] ** 0.5 * x[:, 1]


def exact():
    n, d = grid()
    return made({"N": n, "D": d}, surface(n, d), num_redraws=0)


def test_a_product_has_the_exponents_of_the_closed_form():
    found = frontier(exact(), product, (1e24,))
    assert found.exponents["N"] == pytest.approx(BETA / (ALPHA + BETA), abs=1e-5)
    assert found.exponents["D"] == pytest.approx(ALPHA / (ALPHA + BETA), abs=1e-5)
    ratio = ALPHA * TRUTH["N.coefficient"] / (BETA * TRUTH["D.coefficient"])
    best = ratio ** (1 / (ALPHA + BETA)) * (1e24 / 6) ** (BETA / (ALPHA + BETA))
    assert found.best[-1].sizes["N"] == pytest.approx(best, rel=1e-4)
    assert found.best[-1].cost_reach == pytest.approx(1e24 / 6e22)


def test_no_sizes_of_the_same_cost_have_a_lower_loss():
    found = frontier(exact(), with_attention, (1e21,))
    best = found.best[-1]
    n = best.sizes["N"] * np.geomspace(0.2, 5, 401)
    d = 1e21 / (6 * n + 6e4 * n**0.5)
    assert with_attention(np.array([[*best.sizes.values()]]))[0] == pytest.approx(1e21, rel=1e-5)
    assert best.loss == pytest.approx(surface(n, d).min(), rel=1e-6)
    assert abs(found.exponents["N"] - BETA / (ALPHA + BETA)) > 0.003


def test_the_interval_of_the_exponent_is_that_of_the_redraws():
    fitted = square(num_redraws=60)
    found = frontier(fitted, product)
    values = fitted.form.named_parameters(fitted.redraws, fitted.points.centres)
    drawn = values["D.exponent"] / (values["N.exponent"] + values["D.exponent"])
    expected = np.percentile(drawn, [2.5, 97.5])
    assert found.intervals["N"] == pytest.approx(expected, abs=1e-4)
    assert found.standard_errors["N"] == pytest.approx(drawn.std(ddof=1), abs=1e-4)


def test_a_parabola_takes_part_in_the_frontier():
    """If the cost does not depend on the chunk, the chunk keeps its own best value."""
    n, d, chunk = (
        column.ravel()
        for column in np.meshgrid(
            np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 4), np.geomspace(500, 8000, 5)
        )
    )
    loss = surface(n, d) + 0.02 * np.log(chunk / 1700) ** 2
    form = Additive(("N", "D"), ("chunk",))
    fitted = made({"N": n, "D": d, "chunk": chunk}, loss, form, num_redraws=0)
    found = frontier(fitted, product)
    assert found.best[0].sizes["chunk"] == pytest.approx(1700, rel=1e-3)
    assert found.exponents["N"] == pytest.approx(BETA / (ALPHA + BETA), abs=1e-3)


def test_a_cost_without_a_column_is_refused():
    with pytest.raises(FitError, match="there is no best size"):
        frontier(exact(), lambda x: x[:, 0])
    with pytest.raises(FitError, match="not a positive number"):
        frontier(exact(), lambda x: x[:, 0] - 1e9)
