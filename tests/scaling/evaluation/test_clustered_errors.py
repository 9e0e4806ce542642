import numpy as np
import pytest
from scipy.signal import lfilter

from scaling.evaluation.clustered_errors import (
    FEWEST,
    assign_clusters,
    cluster_sums,
    clustered_mean,
    half_interval,
    mean_and_error,
)


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


def seconds_of(lengths):
    """Return the recording and the second of every second, for recordings of these lengths."""
    names = [f"r{number}" for number in range(len(lengths))]
    return np.repeat(names, lengths), np.concatenate([np.arange(length) for length in lengths])


def pairs_of(recording, second, length):
    """Return the blocks of ``length`` seconds of each recording, as a set of pairs."""
    return {(name, at // length) for name, at in zip(recording, second.tolist(), strict=True)}


@pytest.mark.parametrize(
    ("lengths", "clustered_by"),
    [
        ([3] * 20, "recordings"),
        ([3] * 25, "recordings"),
        ([1] * 19, "seconds"),
        ([1] * 17 + [3], "seconds"),
        ([1] * 18 + [3], "blocks of 2 s"),
        ([3] * 19, "blocks of 2 s"),
        ([100], "blocks of 4 s"),
        ([160], "blocks of 8 s"),
        ([153], "blocks of 8 s"),
        ([152], "blocks of 4 s"),
        # 10, 6 and 4 blocks of 8 s; the last one of each recording is shorter.
        ([80, 41, 25], "blocks of 8 s"),
        ([20], "seconds"),
        ([7], "seconds"),
        ([1], "seconds"),
    ],
)
def test_clusters_are_recordings_or_the_longest_blocks_of_which_there_are_enough(
    lengths, clustered_by
):
    recording, second = seconds_of(lengths)
    member, found = assign_clusters(recording, second)
    assert found == clustered_by
    if found == "recordings":
        assert np.array_equal(member, recording)
        return
    length = int(found.split()[2]) if found != "seconds" else 1
    counts = {size: len(pairs_of(recording, second, size)) for size in (length, 2 * length)}
    assert len(np.unique(member)) == counts[length]
    assert counts[2 * length] < FEWEST
    assert counts[length] >= FEWEST or length == 1


def test_a_block_is_within_one_recording_for_any_seconds_in_any_order():
    generator = np.random.default_rng(0)
    recording, second = seconds_of([70, 13, 90])
    kept = generator.permutation(len(second))[:120]
    recording, second = recording[kept], second[kept] * 3
    member, clustered_by = assign_clusters(recording, second)
    length = int(clustered_by.split()[2])
    blocks = {}
    for own, name, at in zip(member.tolist(), recording, second.tolist(), strict=True):
        blocks.setdefault(own, set()).add((name, at // length))
    assert all(len(pairs) == 1 for pairs in blocks.values())
    assert len(blocks) == len(pairs_of(recording, second, length))


def test_numbers_of_recordings_serve_as_well_as_their_names():
    recording, second = seconds_of([70, 13, 90])
    numbers = np.unique(recording, return_inverse=True)[1]
    by_name, by_number = assign_clusters(recording, second), assign_clusters(numbers, second)
    assert by_name[1] == by_number[1]
    assert np.array_equal(by_name[0], by_number[0])


def test_sums_of_clusters_give_the_mean_and_error_of_their_values():
    generator = np.random.default_rng(0)
    member, values = generator.integers(30, size=500), generator.normal(size=500)
    sums, counts = cluster_sums(values, member), cluster_sums(np.ones(500), member)
    assert sums.tolist() == pytest.approx([values[member == own].sum() for own in range(30)])
    assert clustered_mean(sums, counts) == pytest.approx(mean_and_error(values, member))


@pytest.mark.parametrize(
    ("clusters", "quantile"), [(1, 12.7062), (2, 12.7062), (3, 4.30265), (20, 2.09302)]
)
def test_the_half_interval_is_students_with_a_degree_of_freedom_less(clusters, quantile):
    # Quantiles of 0.975 from printed tables of the t distribution.
    assert half_interval(0.5, clusters) == pytest.approx(0.5 * quantile, rel=1e-5)


def test_the_half_interval_of_very_many_clusters_is_that_of_a_normal_mean():
    assert half_interval(1.0, 10**7) == pytest.approx(1.95996, abs=1e-4)


def test_blocks_tell_the_error_of_a_mean_whose_neighbours_are_alike_and_seconds_do_not():
    generator = np.random.default_rng(2)
    # 200 recordings of 640 s, with a correlation of 0.8 between neighbouring seconds.
    series = lfilter([1.0], [1.0, -0.8], generator.normal(size=(200, 700)))[:, 60:]
    true = series.mean(1).std(ddof=1)
    second = np.arange(640)
    member, clustered_by = assign_clusters(np.zeros(640, int), second)
    assert clustered_by == "blocks of 32 s"
    by_blocks = np.array([mean_and_error(values, member)[1] for values in series])
    by_seconds = np.array([mean_and_error(values, second)[1] for values in series])
    assert abs(by_blocks.mean() / true - 1) < 0.15
    assert by_seconds.mean() / true < 0.4
    assert (abs(by_blocks - true) < abs(by_seconds - true)).all()
    covered = abs(series.mean(1)) < [half_interval(error, 20) for error in by_blocks]
    assert 0.9 < covered.mean() < 0.99
