"""Fits recover noise-free surfaces exactly, for every form and objective."""

import numpy as np
import pytest

from scaling.fitting import fit as fitting
from scaling.fitting.forms import Additive, Coupled, Overtraining, Shifted
from scaling.fitting.objective import Objective
from scaling.fitting.points import Points
from scaling.fitting.slope import FitError
from tests.helpers.surfaces import TRUTH, design, grid, made, square, surface

N, D = grid()
OBJECTIVES = [
    Objective(),
    Objective(delta=1e-6),
    Objective("mse"),
    Objective("mse", "raw"),
    Objective("asymmetric", "raw"),
]
SURFACES = {
    "chinchilla": (Additive(("N", "D")), surface(N, D), TRUTH),
    "nearly no floor": (
        Additive(("N", "D")),
        0.01 + 48 / N**0.15 + 210 / D**0.9,
        {"E": 0.01, "N.exponent": 0.15, "D.exponent": 0.9, "N.coefficient": 48},
    ),
    "no floor": (
        Additive(("N", "D"), irreducible=False),
        48 / N**0.15 + 210 / D**0.3,
        {"N.exponent": 0.15, "D.exponent": 0.3, "D.coefficient": 210},
    ),
    "shifted": (
        Shifted(("N", "D")),
        1.8 + 480 / (N + 3e7) ** 0.35 + 2100 / (D + 2e9) ** 0.37,
        {"E": 1.8, "N.coefficient": 480, "N.exponent": 0.35, "N.shift": 3e7, "D.shift": 2e9},
    ),
    "coupled": (
        Coupled(("N", "D")),
        1.8 + (480 / N**0.5 + 2100 / D**0.45) ** 0.8,
        {"E": 1.8, "N.coefficient": 480, "N.exponent": 0.5, "D.exponent": 0.45, "coupling": 0.8},
    ),
    "overtraining": (
        Overtraining(("N", "D")),
        1.5 + (141 * (D / N) ** 0.12 + 190 * (D / N) ** -0.12) * (6 * N * D) ** -0.12,
        {"E": 1.5, "a": 141, "b": 190, "eta": 0.12},
    ),
}


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: f"{one.kind}-{one.delta}")
def test_a_noise_free_surface_is_recovered(name, objective):
    form, loss, truth = SURFACES[name]
    fitted = made({"N": N, "D": D}, loss, form, objective, num_redraws=0)
    assert {key: fitted.named_parameters[key] for key in truth} == pytest.approx(truth, rel=1e-6)
    assert fitted.converged


def test_three_terms_and_a_parabola_come_back():
    columns = [
        column.ravel()
        for column in np.meshgrid(
            np.geomspace(1e7, 1e9, 4),
            np.geomspace(1e9, 1e11, 4),
            np.geomspace(8e3, 1e6, 4),
            np.array([500.0, 1000, 2000, 4000, 8000]),
        )
    ]
    n, d, context, chunk = columns
    loss = surface(n, d) + 2 / context**0.3 + 0.02 * np.log(chunk / 1700) ** 2
    names = ("N", "D", "context", "chunk")
    form = Additive(names[:3], names[3:])
    fitted = made(dict(zip(names, columns, strict=True)), loss, form, num_redraws=0)
    truth = TRUTH | {
        "context.coefficient": 2,
        "context.exponent": 0.3,
        "chunk.optimum": 1700,
        "chunk.curvature": 0.02,
    }
    assert fitted.named_parameters == pytest.approx(truth, rel=1e-6)


def test_the_scale_of_the_losses_changes_nothing_but_their_unit():
    """A mean of tiny Huber terms can stop optimizers at their starts."""
    n, d, loss = design()
    small = made({"N": n, "D": d}, 1e-6 * loss, num_redraws=0).named_parameters
    usual = made({"N": n, "D": d}, loss, num_redraws=0).named_parameters
    assert small["N.exponent"] == pytest.approx(usual["N.exponent"], rel=1e-6)
    assert small["E"] == pytest.approx(1e-6 * usual["E"], rel=1e-6)


def test_the_objective_is_the_plain_sum_over_rows():
    fitted = square(num_redraws=0)
    assert fitted.value == pytest.approx(Objective().losses(fitted.residual).sum())


def test_the_same_seed_gives_the_same_redraws_and_another_does_not():
    first, again, other = (square(num_redraws=10, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.redraws, again.redraws)
    assert not np.array_equal(first.redraws, other.redraws)


def test_terms_add_up_to_the_curve():
    fitted = square(num_redraws=0)
    assert fitted.named_parameters["E"] + fitted.added().sum(axis=1) == pytest.approx(
        fitted.predicted
    )


def test_a_fit_whose_starts_disagree_has_not_converged(monkeypatch):
    monkeypatch.setattr(fitting, "NUM_STARTS", 2)
    assert not square(num_redraws=0).converged


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (slice(4), "4 different rows of N, D cannot determine the 5 parameters"),
        (slice(6), "D has 1 different value: the additive form needs at least 3"),
    ],
)
def test_too_few_rows_are_refused_with_the_reason(rows, message):
    n, d, loss = (column[rows] for column in design())
    with pytest.raises(FitError, match=message):
        made({"N": n, "D": d}, loss)


def test_fits_to_many_losses_at_once_are_those_one_by_one():
    losses = [
        surface(N, D) + np.random.default_rng(seed).normal(0, 0.02, N.size) for seed in (1, 2, 3)
    ]
    sets = [Points.of({"N": N, "D": D}, loss) for loss in losses]
    form = Additive(("N", "D"))
    found = fitting.fit_many(sets, form, [7, 8, 9])
    for points, seed, one in zip(sets, (7, 8, 9), found, strict=True):
        alone = fitting.fit(points, form, Objective(), num_redraws=0, seed=seed)
        np.testing.assert_allclose(one.parameters, alone.parameters, rtol=1e-10)
        assert one.value == pytest.approx(alone.value, rel=1e-10)
        assert one.starts_agreeing == alone.starts_agreeing
    assert len({one.value for one in found}) == 3
