import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import quantise

CODECS = pytest.mark.parametrize("codec", quantise.CODECS)


@CODECS
@pytest.mark.parametrize("levels", [2, 16, 255, 256])
def test_every_code_survives_a_round_trip(codec, levels):
    codes = np.arange(levels)
    assert np.array_equal(
        quantise.encode(quantise.decode(codes, codec, levels), codec, levels), codes
    )


@CODECS
@given(sample=st.floats(-1, 1))
@settings(deadline=None)
def test_a_round_trip_errs_by_half_a_bin(codec, sample):
    code = quantise.encode(np.array([sample]), codec)
    edges = quantise.decode(np.array([code[0] - 0.5, code[0] + 0.5]), codec)
    assert edges[0] - 1e-6 <= sample <= edges[1] + 1e-6


def test_a_linear_round_trip_errs_by_half_of_a_128th():
    samples = np.linspace(-1, 1, 10_001)
    error = quantise.decode(quantise.encode(samples, "linear"), "linear") - samples
    assert np.abs(error).max() == pytest.approx(1 / 256, rel=1e-3)


def test_mu_law_follows_its_formula():
    # ln(1 + 255 / 17) / ln 256 = ln 16 / ln 256 = 1/2, so 1/17 lies three quarters up the bins.
    samples = np.array([1 / 17 + 1e-9, 1 / 17 - 1e-9, -1 / 17 + 1e-9, -1 / 17 - 1e-9])
    assert quantise.encode(samples, "mulaw").tolist() == [192, 191, 64, 63]


@CODECS
def test_extremes_clip_and_silence_is_the_middle(codec):
    codes = quantise.encode(np.array([-9.0, -1.0, 0.0, 1.0, 9.0], dtype=np.float32), codec)
    assert codes.tolist() == [0, 0, 128, 255, 255]
    assert codes.dtype == np.uint8


@CODECS
def test_codes_rise_with_the_amplitude(codec):
    codes = quantise.encode(np.linspace(-1.1, 1.1, 100_001), codec)
    assert (np.diff(codes.astype(int)) >= 0).all()
    assert set(codes) == set(range(256))


@CODECS
def test_the_input_is_left_alone(codec):
    samples = np.array([2.0, -2.0, 0.3], dtype=np.float32)
    quantise.encode(samples, codec)
    assert samples.tolist() == [2.0, -2.0, np.float32(0.3)]


def test_unknown_codecs_and_levels_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="'alaw' is unknown: write one of mulaw, linear"):
        quantise.encode(np.zeros(1), "alaw")
    with pytest.raises(ValueError, match="65536 levels do not fit 8-bit codes: write 2 to 256"):
        quantise.decode(np.zeros(1), "mulaw", 65536)
