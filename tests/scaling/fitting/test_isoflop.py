"""IsoFLOP profiles: the known bias of the parabola, and a diagnostic for each bad design."""

import numpy as np
import pytest

from scaling.fitting.diagnostics import isoflop_diagnostics
from scaling.fitting.isoflop import isoflop
from scaling.fitting.slope import FitError
from tests.helpers.surfaces import made, noisy

CHINCHILLA = (0.34, 0.28)
ASYMMETRIC = (0.465, 0.155)
E, A, B = 1.69, 406.4, 410.7
BUDGETS = tuple(np.geomspace(1e17, 1e21, 5))


def best_sizes(exponents, budget):
    """Return N and D of the lowest loss for 6 N D = budget, in closed form."""
    alpha, beta = exponents
    scale = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    n = scale * (budget / 6) ** (beta / (alpha + beta))
    return n, budget / 6 / n


def profiles(exponents=CHINCHILLA, width=8, sizes=15, budgets=BUDGETS, centre=1.0, noise=0.0):
    """Fit isoFLOP runs from 1 / ``width`` to ``width`` times ``centre`` times the best size."""
    n = np.concatenate(
        [
            best_sizes(exponents, budget)[0] * factor * np.geomspace(1 / width, width, sizes)
            for budget, factor in zip(budgets, np.broadcast_to(centre, len(budgets)), strict=True)
        ]
    )
    budget = np.repeat(budgets, sizes)
    d = budget / 6 / n
    loss = noisy(E + A / n ** exponents[0] + B / d ** exponents[1], noise)
    return made({"N": n, "D": d}, loss, num_redraws=20 if noise else 0), budget


@pytest.mark.parametrize(
    ("exponents", "width", "bias", "cubic"),
    [
        (CHINCHILLA, 2, -0.327, 0.16),
        (CHINCHILLA, 4, -1.301, 0.16),
        (CHINCHILLA, 8, -2.903, 0.16),
        (CHINCHILLA, 16, -5.100, 0.17),
        (ASYMMETRIC, 2, -1.675, 1.03),
        (ASYMMETRIC, 4, -6.498, 1.03),
        (ASYMMETRIC, 8, -13.910, 1.03),
        (ASYMMETRIC, 16, -23.116, 1.03),
    ],
)
def test_the_parabola_is_biased_as_published_and_the_joint_fit_is_not(
    exponents, width, bias, cubic
):
    """Errors are in percent of the best D at a budget of 1e24 (arXiv 2603.22339, noise-free)."""
    found = isoflop(*profiles(exponents, width))
    _, truth = best_sizes(exponents, 1e24)
    errors = {
        method: 100 * (power.at(1e24) / truth - 1) for method, power in found.powers["D"].items()
    }
    assert errors["parabola"] == pytest.approx(bias, abs=0.01)
    assert abs(errors["cubic"]) < cubic
    assert abs(errors["joint"]) < 1e-3


def test_exponents_of_both_columns_are_found_apart_and_add_up_for_a_product():
    found = isoflop(*profiles(noise=0.001))
    sums = [
        found.powers["N"][method].exponent + found.powers["D"][method].exponent
        for method in ("cubic", "joint")
    ]
    assert sums == pytest.approx([1, 1], abs=0.02)
    low, high = found.powers["N"]["joint"].interval
    assert low < found.powers["N"]["joint"].exponent < high
    assert found.powers["N"]["joint"].exponent == pytest.approx(0.28 / 0.62, abs=0.005)


def codes(*words, **design):
    return {finding.code for finding in isoflop_diagnostics(isoflop(*profiles(*words, **design)))}


def test_a_clean_design_has_no_finding():
    assert codes() == set()
    assert codes(noise=0.0005) == set()


@pytest.mark.parametrize(
    ("code", "design"),
    [
        ("isoflop_few_budgets", {"budgets": BUDGETS[:2]}),
        ("isoflop_few_sizes", {"sizes": 4}),
        ("isoflop_not_bracketed", {"centre": 12.0}),
        ("isoflop_off_centre", {"centre": 5.0}),
        ("isoflop_drifting_centre", {"centre": (1 / 3, 1 / 2, 1.0, 2.0, 3.0)}),
        (
            "approaches_disagree",
            {"exponents": ASYMMETRIC, "width": 16, "sizes": 4, "centre": (8, 4, 1, 1 / 4, 1 / 8)},
        ),
    ],
)
def test_each_diagnostic_has_its_design(code, design):
    assert code in codes(**design)


def test_a_profile_that_only_falls_has_no_lowest_point():
    fitted, budget = profiles()
    bent = 4 - 0.01 * fitted.points.position[:, 0] ** 2
    wrong = made(dict(zip(("N", "D"), fitted.points.x.T, strict=True)), bent, num_redraws=0)
    assert "isoflop_not_convex" in {one.code for one in isoflop_diagnostics(isoflop(wrong, budget))}


def test_budgets_that_run_into_each_other_are_refused():
    fitted, budget = profiles()
    with pytest.raises(FitError, match="are not separate"):
        isoflop(fitted, np.geomspace(1e17, 1e19, len(budget)))
    with pytest.raises(FitError, match="none of the 75 budgets has runs of three sizes"):
        isoflop(fitted, np.geomspace(1e1, 1e75, len(budget)))
