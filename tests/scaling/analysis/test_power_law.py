"""Power laws in one axis: known laws are recovered, and each lack of the points is found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.analysis.power_law import fit_power_law
from scaling.fitting import fit
from scaling.fitting.slope import FitError

CONTEXTS = np.geomspace(8_000, 1_024_000, 8)


def law(x, irreducible=3.1, reducible=0.3, exponent=0.3):
    return irreducible + reducible * (x / 90_000) ** -exponent


def codes(fitted):
    return {finding.code for finding in fitted.findings}


@settings(max_examples=10, deadline=None)
@given(irreducible=st.floats(1.0, 5.0), reducible=st.floats(0.1, 2.0), exponent=st.floats(0.1, 1.0))
def test_exact_points_give_back_their_law(irreducible, reducible, exponent):
    fitted = fit_power_law(CONTEXTS, law(CONTEXTS, irreducible, reducible, exponent), num_redraws=2)
    assert fitted.irreducible == pytest.approx(irreducible, rel=1e-6)
    assert fitted.exponent == pytest.approx(exponent, rel=1e-6)
    at_centre = reducible * (fitted.centre / 90_000) ** -exponent
    assert fitted.reducible == pytest.approx(at_centre, rel=1e-6)


def test_noisy_points_are_determined_and_their_intervals_hold_the_truth():
    noise = 0.002 * np.random.default_rng(1).normal(size=len(CONTEXTS))
    fitted = fit_power_law(CONTEXTS, law(CONTEXTS) + noise, name="context")
    assert fitted.determined
    assert fitted.intervals["irreducible"][0] < 3.1 < fitted.intervals["irreducible"][1]
    assert fitted.intervals["exponent"][0] < 0.3 < fitted.intervals["exponent"][1]
    low, high = fitted.band(CONTEXTS)
    assert np.all(low <= high)
    assert np.mean((low <= law(CONTEXTS)) & (law(CONTEXTS) <= high)) >= 0.75
    assert "falls towards" in fitted.sentence
    assert "bits" in fitted.sentence and "nats" in fitted.sentence


def test_same_seed_gives_the_same_fit():
    loss = law(CONTEXTS) + 0.002 * np.random.default_rng(2).normal(size=len(CONTEXTS))
    first, again = (fit_power_law(CONTEXTS, loss, num_redraws=20) for _ in range(2))
    assert first == again
    assert np.array_equal(first.fitted.redraws, again.fitted.redraws)


def test_replicates_are_redrawn_together():
    x = np.repeat(CONTEXTS, 2)
    fitted = fit_power_law(x, law(x), num_redraws=5)
    points = fitted.fitted.points
    assert (len(points.loss), points.num_configurations) == (16, 8)
    few = fit_power_law(x[:10], law(x[:10]))
    assert "few_configurations" in codes(few)
    assert few.band(x) is None


@pytest.mark.parametrize(
    ("code", "x", "loss"),
    [
        ("few_configurations", CONTEXTS[::2], law(CONTEXTS[::2])),
        ("narrow_range", CONTEXTS[:4], law(CONTEXTS[:4])),
        ("no_fall", CONTEXTS, 6 - law(CONTEXTS)),
        ("small_fall", CONTEXTS, 3.1 + 0.01 * np.array([1, -1, 1, -1, 1, -1, 1, -1.001])),
        ("irreducible_at_zero", CONTEXTS, law(CONTEXTS, 1e-9, 3.0, 0.1)),
        ("exponent_implausible", CONTEXTS, law(CONTEXTS, 3.0, 0.05, 2.5)),
    ],
)
def test_each_finding_has_its_case(code, x, loss):
    fitted = fit_power_law(x, loss, num_redraws=10)
    assert code in codes(fitted)
    assert not fitted.determined
    assert fitted.sentence.startswith("The points do not determine a power law.")


def test_starts_that_disagree_are_found(monkeypatch):
    monkeypatch.setattr(fit, "NUM_STARTS", 2)
    assert "no_agreement" in codes(fit_power_law(CONTEXTS, law(CONTEXTS), num_redraws=2))


def test_known_noise_decides_whether_a_fall_is_small():
    assert "small_fall" in codes(fit_power_law(CONTEXTS, law(CONTEXTS), noise=1.0, num_redraws=2))


@pytest.mark.parametrize(
    ("x", "loss", "message"),
    [
        ([1, 2], [3, 3], "2 different values"),
        ([1, 2, 3], [3, 3, np.nan], "nats has the value nan"),
        ([0, 2, 3], [3, 3, 3], r"x has the value 0\.0"),
        ([1, 2, 3], [3, 3], "shape"),
    ],
)
def test_points_without_a_curve_are_refused_in_a_sentence(x, loss, message):
    with pytest.raises(FitError, match=message):
        fit_power_law(x, loss)
