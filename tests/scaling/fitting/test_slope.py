"""The slope per doubling: its interval, the seeds' scatter, and the variance of contrasts."""

import numpy as np
import pytest

from scaling.fitting.slope import FitError, contrast_variances, fit_slope, replicate_noise

CONTEXTS = np.geomspace(8_000, 1_024_000, 8)


def test_slope_of_a_line_is_exact_over_groups_of_different_level():
    x = np.tile(CONTEXTS, 2)
    groups = np.repeat(["shallow", "deep"], len(CONTEXTS)).tolist()
    level = np.where(np.array(groups) == "deep", 3.0, 3.5)
    slope = fit_slope(x, level - 0.01 * np.log2(x / 8_000), groups=groups)
    assert slope.per_doubling == pytest.approx(-0.01)
    assert (slope.num_configurations, slope.num_groups) == (16, 2)


def test_slope_intervals_have_their_nominal_coverage():
    generator = np.random.default_rng(4)
    hits = 0
    for _ in range(400):
        slope = fit_slope(CONTEXTS, 3 + 0.01 * generator.normal(size=len(CONTEXTS)))
        hits += slope.interval[0] < 0 < slope.interval[1]
    assert 0.92 <= hits / 400 <= 0.98


def test_replicates_do_not_narrow_the_slope():
    loss = 3 + 0.01 * np.sin(np.arange(8.0))
    once = fit_slope(CONTEXTS, loss)
    thrice = fit_slope(np.repeat(CONTEXTS, 3), np.repeat(loss, 3))
    assert thrice.interval == pytest.approx(once.interval)


def test_slope_without_a_degree_of_freedom_is_refused():
    with pytest.raises(FitError, match="at least 3"):
        fit_slope([1, 2], [3.0, 2.9])


def test_noise_is_pooled_over_replicated_configurations_only():
    assert replicate_noise([1.0, 2.0, 3.0], ["a", "b", "c"]) is None
    deviation, freedom = replicate_noise([1.0, 3.0, 5.0, 9.0], ["a", "a", "b", "c"])
    assert (deviation, freedom) == (pytest.approx(2**0.5), 1)


def test_the_variance_of_a_contrast_is_that_of_weighted_means():
    weights, seeds = np.array([[1.0, 0.5], [-1.0, 0.25], [0.0, -0.75]]), np.array([4, 1, 2])
    runs = np.random.default_rng(0).normal(size=(20_000, 7))
    means = np.stack([part.mean(axis=1) for part in np.split(runs, [4, 5], axis=1)], axis=1)
    by_simulation = np.var(means @ weights, axis=0).sum()
    assert contrast_variances(weights, seeds).sum() == pytest.approx(by_simulation, rel=0.03)
    assert contrast_variances(weights, seeds)[0] == pytest.approx(1.25 / 4)
