import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import references, shards
from datasets.manifest import Reference


def music(samples, seed=0):
    """Codes of a resonant, noisy signal that reaches the first and the last code."""
    noise = np.random.default_rng(seed).normal(0, 30, samples)
    signal = np.zeros(samples)
    for t in range(2, samples):
        signal[t] = 1.6 * signal[t - 1] - 0.8 * signal[t - 2] + noise[t]
    return np.clip(np.round(signal + 128), 0, 255).astype(np.uint8)


CODES = music(6_000)


def shard(folder, codes, name="s"):
    shards.write(folder / name, name, [codes])
    return folder / name


def direct_least_squares(codes, order):
    rows = [[*codes[t - order : t][::-1].astype(float), 1.0] for t in range(order, len(codes))]
    return np.linalg.lstsq(np.array(rows), codes[order:].astype(float), rcond=None)[0]


def direct_probability(code, centre, scale):
    def sigmoid(x):
        return 0.5 + 0.5 * np.tanh(x / 2)

    upper = 1.0 if code == 255 else sigmoid((code + 0.5 - centre) / scale)
    return upper - (0.0 if code == 0 else sigmoid((code - 0.5 - centre) / scale))


def test_histogram_bits_are_the_entropy():
    assert references.histogram_bits(np.full(256, 3)) == 8.0
    assert references.histogram_bits(np.array([5, 0, 0])) == 0.0
    assert references.histogram_bits(np.array([2, 1, 1, 0])) == pytest.approx(1.5)


def test_a_histogram_counts_the_range_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(references, "BLOCK", 700)
    path = shard(tmp_path, CODES)
    counts = references.histogram(path, 1234, 4321)
    assert np.array_equal(counts, np.bincount(CODES[1234:4321], minlength=256))


@pytest.mark.parametrize("order", [1, 2, 32])
def test_the_fit_is_the_least_squares_fit(order):
    expected = direct_least_squares(CODES, order)
    fitted = references.solve(references.gram(CODES, order))
    assert fitted.order == order
    assert np.allclose(fitted.coefficients, expected[:-1], rtol=0, atol=1e-9)
    assert fitted.intercept == pytest.approx(expected[-1], abs=1e-7)


@pytest.mark.parametrize(("begin", "end"), [(0, 6000), (10, 3000), (32, 33), (3000, 5999), (5, 30)])
def test_a_range_has_its_history_and_blocks_do_not_show(tmp_path, monkeypatch, begin, end):
    path = shard(tmp_path, CODES)
    expected = sum(
        (references.gram(CODES[t - 32 : t + 1]) for t in range(max(begin, 32), end)),
        start=np.zeros((34, 34)),
    )
    for block in (64, 1000, 2**16):
        monkeypatch.setattr(references, "BLOCK", block)
        assert np.array_equal(references.range_gram(path, begin, end), expected)


def test_silence_has_a_fit():
    silence = np.full(500, 128, dtype=np.uint8)
    fitted = references.solve(references.gram(silence))
    assert np.allclose(references.predict(silence, fitted), 128)
    scale = references.fit_scale(silence[32:], references.predict(silence, fitted))
    nats = references.discretised_logistic_nats(silence, np.full(500, 128.0), scale)
    assert 0 <= nats.max() < 1e-6


def test_predictions_are_sums_over_the_newest_first():
    reference = Reference(3, (0.5, -0.25, 2.0), 7.0, 1.0)
    codes = CODES[:50]
    expected = [
        7 + 0.5 * int(codes[t - 1]) - 0.25 * int(codes[t - 2]) + 2 * int(codes[t - 3])
        for t in range(3, 50)
    ]
    assert np.allclose(references.predict(codes, reference), expected)
    batch = np.stack([codes, codes[::-1]])
    assert np.allclose(references.predict(batch, reference)[0], expected)


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


@pytest.mark.parametrize(("begin", "end"), [(0, 900), (31, 33), (400, 1500), (3, 20)])
def test_a_score_is_the_sum_of_direct_probabilities(tmp_path, monkeypatch, begin, end):
    monkeypatch.setattr(references, "BLOCK", 333)
    reference = references.solve(references.gram(CODES))
    reference = Reference(32, reference.coefficients, reference.intercept, 9.0)
    nats, count = references.score(shard(tmp_path, CODES), begin, end, reference)
    offsets = range(max(begin, 32), end)
    expected = 0.0
    for t in offsets:
        past = CODES[t - 32 : t][::-1].astype(float)
        centre = reference.intercept + sum(past * np.array(reference.coefficients))
        expected -= np.log(direct_probability(int(CODES[t]), centre, 9.0))
    assert count == len(offsets)
    assert nats == pytest.approx(expected, rel=1e-9)
    runs = np.array([CODES[t - 32 : t + 1] for t in offsets]).reshape(-1, 33)
    assert references.linear_nats(runs, reference).sum() == pytest.approx(expected, rel=1e-9)
