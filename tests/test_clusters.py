import numpy as np
import pytest

from scaling.clusters import mean_and_error


def test_without_clusters_the_error_is_that_of_a_mean():
    values = np.random.default_rng(0).normal(size=400)
    mean, error = mean_and_error(values, np.arange(400))
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / 20)


def test_copies_of_a_value_in_its_cluster_tell_nothing_more():
    values = np.random.default_rng(0).normal(size=50)
    single = mean_and_error(values, np.arange(50))
    copied = mean_and_error(np.repeat(values, 8), np.repeat(np.arange(50), 8))
    assert copied == pytest.approx(single)


def test_the_error_covers_the_mean_of_correlated_targets():
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        values = (generator.normal(size=(60, 1)) + generator.normal(size=(60, 5))).ravel()
        mean, error = mean_and_error(values, np.repeat(np.arange(60), 5))
        inside += abs(mean) < 1.96 * error
    assert 0.91 < inside / 400 < 0.98
