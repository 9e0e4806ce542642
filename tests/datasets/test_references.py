import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import quantise, references
from datasets.manifest import Reference


def music(samples, seed=0):
    """Return codes of a resonant, noisy signal that reaches the first and the last code."""
    noise = np.random.default_rng(seed).normal(0, 30, samples)
    signal = np.zeros(samples)
    for t in range(2, samples):
        signal[t] = 1.6 * signal[t - 1] - 0.8 * signal[t - 2] + noise[t]
    return np.clip(np.round(signal + 128), 0, 255).astype(np.uint8)


CODES = music(6_000)


def direct_least_squares(codes, order):
    rows = [[*codes[t - order : t][::-1].astype(float), 1.0] for t in range(order, len(codes))]
    return np.linalg.lstsq(np.array(rows), codes[order:].astype(float), rcond=None)[0]


def direct_probability(code, centre, scale, levels=256):
    def sigmoid(x):
        return 0.5 + 0.5 * np.tanh(x / 2)

    upper = 1.0 if code == levels - 1 else sigmoid((code + 0.5 - centre) / scale)
    return upper - (0.0 if code == 0 else sigmoid((code - 0.5 - centre) / scale))


def test_histogram_bits_are_the_entropy():
    assert references.histogram_bits(np.full(256, 3)) == 8.0
    assert references.histogram_bits(np.array([5, 0, 0])) == 0.0
    assert references.histogram_bits(np.array([2, 1, 1, 0])) == pytest.approx(1.5)


def test_pairs_count_each_code_with_its_successor():
    codes = np.array([0, 255, 255, 3, 255, 255], dtype=np.uint8)
    counts = references.count_pairs(codes)
    assert counts.shape == (256, 256)
    assert {tuple(pair): int(counts[tuple(pair)]) for pair in np.argwhere(counts)} == {
        (0, 255): 1,
        (255, 255): 2,
        (255, 3): 1,
        (3, 255): 1,
    }
    assert references.count_pairs(codes[:1]).sum() == 0


@given(codes=st.lists(st.integers(0, 255), min_size=2, max_size=200))
def test_pair_bits_are_the_entropy_of_a_code_given_the_one_before_it(codes):
    pairs = list(itertools.pairwise(codes))
    expected = 0.0
    for first in set(codes[:-1]):
        followers = np.array([after for before, after in pairs if before == first])
        shares = np.unique(followers, return_counts=True)[1] / len(followers)
        expected -= len(followers) / len(pairs) * float((shares * np.log2(shares)).sum())
    found = references.pair_bits(references.count_pairs(np.array(codes, dtype=np.uint8)))
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 32])
def test_the_fit_is_the_least_squares_fit(order):
    expected = direct_least_squares(CODES, order)
    fitted = references.fit_linear(references.gram_matrix(CODES, order=order))
    assert fitted.order == order
    assert np.allclose(fitted.coefficients, expected[:-1], rtol=0, atol=1e-9)
    assert fitted.intercept == pytest.approx(expected[-1], abs=1e-7)


@given(cuts=st.lists(st.integers(32, len(CODES)), max_size=4))
@settings(max_examples=20)
def test_sums_over_blocks_are_those_of_the_whole_to_the_last_bit(cuts):
    edges = [32, *sorted(cuts), len(CODES)]
    grams = [
        references.gram_matrix(CODES[a - 32 : b]) for a, b in itertools.pairwise(edges) if a < b
    ]
    assert np.array_equal(sum(grams), references.gram_matrix(CODES))


def test_the_fit_of_sixteen_bit_codes_is_the_least_squares_fit():
    codes = CODES.astype(np.uint16) * 257
    expected = direct_least_squares(codes, 32)
    fitted = references.fit_linear(references.gram_matrix(codes, 65_536), 65_536)
    assert np.allclose(fitted.coefficients, expected[:-1], rtol=0, atol=1e-8)
    assert fitted.intercept == pytest.approx(expected[-1], abs=1e-3)


@pytest.mark.fault("Numbers", "a corpus is silent", "its linear reference is finite")
def test_silence_has_a_fit():
    silence = np.full(500, 128, dtype=np.uint8)
    fitted = references.fit_linear(references.gram_matrix(silence))
    assert np.allclose(references.predict_centres(silence, fitted), 128)
    scale = references.fit_scale(silence[32:], references.predict_centres(silence, fitted))
    nats = references.discretised_logistic_nats(silence, np.full(500, 128.0), scale)
    assert 0 <= nats.max() < 1e-6


def test_predictions_are_sums_over_the_newest_first():
    reference = Reference(3, (0.5, -0.25, 2.0), 7.0, 1.0)
    codes = CODES[:50]
    expected = [
        7 + 0.5 * int(codes[t - 1]) - 0.25 * int(codes[t - 2]) + 2 * int(codes[t - 3])
        for t in range(3, 50)
    ]
    assert np.allclose(references.predict_centres(codes, reference), expected)
    batch = np.stack([codes, codes[::-1]])
    assert np.allclose(references.predict_centres(batch, reference)[0], expected)


@given(centre=st.floats(-50, 300), scale=st.floats(0.3, 100))
@settings(deadline=None)
def test_probabilities_are_the_direct_ones_and_sum_to_one(centre, scale):
    codes = np.arange(256)
    nats = references.discretised_logistic_nats(codes, np.full(256, centre), scale)
    assert np.exp(-nats).sum() == pytest.approx(1.0, abs=1e-9)
    direct = np.array([direct_probability(code, centre, scale) for code in codes])
    assert np.allclose(np.exp(-nats), direct, rtol=0, atol=1e-12)


def test_far_tails_keep_their_digits():
    # Far above the centre P(q) = exp(-(q - 1/2 - m) / s) (1 - exp(-1 / s)), to the last digit.
    nats = references.discretised_logistic_nats(np.array([200]), np.array([0.0]), 0.1)
    assert nats[0] == pytest.approx(199.5 / 0.1 - np.log(1 - np.exp(-10)), rel=1e-12)


def test_the_scale_is_the_likeliest():
    generator = np.random.default_rng(3)
    centres = generator.uniform(60, 200, 200_000)
    codes = np.clip(np.round(generator.logistic(centres, 5.0)), 0, 255).astype(np.uint8)
    scale = references.fit_scale(codes, centres)
    assert scale == pytest.approx(5.0, rel=0.01)

    def nats(scale):
        return references.discretised_logistic_nats(codes, centres, scale).mean()

    assert nats(scale) <= min(nats(scale * 1.001), nats(scale / 1.001))


@pytest.mark.parametrize("levels", [256, 65_536])
def test_the_nats_of_a_run_are_those_of_its_direct_probability(levels):
    codes = CODES.astype(quantise.code_dtype(levels)) * ((levels - 1) // 255)
    fitted = references.fit_linear(references.gram_matrix(codes, levels), levels)
    reference = Reference(32, fitted.coefficients, fitted.intercept, 9.0 * levels / 256)
    offsets = [
        *range(32, 300),
        *np.flatnonzero(codes == 0)[-3:],
        *np.flatnonzero(CODES == 255)[-3:],
    ]
    runs = np.array([codes[t - 32 : t + 1] for t in offsets])
    found = references.linear_nats(runs, reference, levels)
    for t, nats in zip(offsets, found, strict=True):
        past = codes[t - 32 : t][::-1].astype(float)
        centre = reference.intercept + sum(past * np.array(reference.coefficients))
        probability = direct_probability(int(codes[t]), centre, reference.scale, levels)
        assert nats == pytest.approx(-np.log(probability), rel=1e-9)
