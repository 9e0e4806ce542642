import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from datasets import quantise

CODECS = pytest.mark.parametrize("codec", quantise.CODECS)
CODES = pytest.mark.parametrize(
    ("codec", "levels"), [("mulaw", 256), ("linear", 256), ("linear", 65_536)]
)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
AMPLITUDES = st.floats(-1.25, 1.25, width=32) | FINITE
CHUNKS = arrays(np.float32, st.integers(1, 40), elements=FINITE | st.floats(-1, 1, width=32))
LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def companded(sample: float, codec: str, levels: int) -> float:
    """Map a sample to [-1, 1], where the bins are equally wide."""
    clipped = min(max(sample, -1.0), 1.0)
    if codec == "linear":
        return clipped
    return math.copysign(math.log1p((levels - 1) * abs(clipped)) / math.log(levels), clipped)


def min_max_code(sample: float, chunk: np.ndarray, codec: str) -> int:
    """Apply the published min-max rule, one sample at a time."""
    lowest, highest = float(chunk.min()), float(chunk.max())
    start = -1 if codec == "mulaw" else 0
    scaled = start + (1 - start) * (sample - lowest) / (highest - lowest + 1e-6)
    if codec == "linear":
        return math.floor(scaled * (256 - 0.01) + 0.005)
    sign = (scaled > 0) - (scaled < 0)
    logarithm = sign * math.log(1 + 255 * abs(scaled + 1e-8)) / math.log(256)
    return math.floor((logarithm + 1) / 2 * (256 - 0.01) + 0.005)


def min_max_codes_in_float32(chunk: np.ndarray, codec: str) -> np.ndarray:
    """Apply the published min-max rule in the precision of the baselines."""
    one = np.float32(1)
    span = chunk.max() - chunk.min() + np.float32(1e-6)
    if codec == "linear":
        places = (chunk - chunk.min()) / span
    else:
        scaled = -one + np.float32(2) * (chunk - chunk.min()) / span
        magnitudes = np.log1p(np.float32(255) * np.abs(scaled + np.float32(1e-8)))
        places = (np.sign(scaled) * (magnitudes / np.log1p(np.float32(255))) + one) / np.float32(2)
    places = places * np.float32(256 - 0.01) + np.float32(0.005)
    assert places.dtype == np.float32
    return np.floor(places).astype(int)


@CODES
def test_every_code_survives_a_round_trip(codec, levels):
    codes = np.arange(levels)
    encoded = quantise.encode(quantise.decode(codes, codec, levels), codec, levels)
    assert np.array_equal(encoded, codes)
    assert encoded.dtype == quantise.code_dtype(levels)


@CODES
@given(sample=AMPLITUDES)
def test_a_round_trip_errs_by_half_a_bin(codec, levels, sample):
    code = quantise.encode(np.array([sample], dtype=np.float32), codec, levels)
    decoded = float(quantise.decode(code, codec, levels)[0])
    error = companded(decoded, codec, levels) - companded(sample, codec, levels)
    # A bin is 2 / levels wide; the extra ten-thousandth allows for decode's rounding to float32.
    assert abs(error) <= 1.0001 / levels


@CODES
@given(samples=st.lists(AMPLITUDES, min_size=2, max_size=40))
def test_a_greater_amplitude_never_has_a_smaller_code(codec, levels, samples):
    codes = quantise.encode(np.array(sorted(samples), dtype=np.float32), codec, levels)
    assert (np.diff(codes.astype(int)) >= 0).all()


@CODES
def test_decoding_the_mirrored_code_negates_the_amplitude_exactly(codec, levels):
    amplitudes = quantise.decode(np.arange(levels), codec, levels)
    assert np.array_equal(amplitudes[::-1], -amplitudes)
    assert (np.diff(amplitudes) > 0).all()


@CODES
@given(sample=AMPLITUDES)
def test_the_negated_amplitude_has_the_mirrored_code_unless_it_is_on_an_edge(codec, levels, sample):
    above, below = quantise.encode(np.array([sample, -sample], dtype=np.float32), codec, levels)
    place = companded(sample, codec, levels) * levels / 2
    if abs(place - round(place)) > 1e-9 or abs(sample) >= 1:
        assert int(below) == levels - 1 - int(above)
    else:
        # An edge belongs to the bin above it on both sides of zero. So does a value that float64
        # cannot distinguish from it, such as everything nearer to zero than 1e-17.
        assert int(below) - (levels - 1 - int(above)) in (0, 1)


@CODES
def test_extremes_clip_and_silence_is_the_middle(codec, levels):
    samples = [-LARGEST, -9.0, -1.0, -SMALLEST, -0.0, 0.0, SMALLEST, 1.0, 9.0, LARGEST]
    codes = quantise.encode(np.array(samples, dtype=np.float32), codec, levels)
    assert codes.tolist() == [0] * 3 + [levels // 2] * 4 + [levels - 1] * 3
    assert codes.dtype == quantise.code_dtype(levels)


@CODES
def test_every_code_is_the_code_of_some_amplitude(codec, levels):
    codes = quantise.encode(np.linspace(-1.1, 1.1, 200_001), codec, levels)
    assert np.array_equal(np.unique(codes), np.arange(levels))


def test_a_linear_round_trip_errs_by_half_of_a_128th():
    samples = np.linspace(-1, 1, 10_001)
    error = quantise.decode(quantise.encode(samples, "linear"), "linear") - samples
    assert np.abs(error).max() == pytest.approx(1 / 256, rel=1e-3)


def test_mu_law_follows_its_formula():
    # ln(1 + 255 / 17) / ln 256 = ln 16 / ln 256 = 1/2, so 1/17 lies three quarters up the bins.
    samples = np.array([1 / 17 + 1e-9, 1 / 17 - 1e-9, -1 / 17 + 1e-9, -1 / 17 - 1e-9])
    assert quantise.encode(samples, "mulaw").tolist() == [192, 191, 64, 63]


def test_sixteen_bit_samples_are_their_own_linear_codes():
    samples = np.arange(-32_768, 32_768) / 32_768
    assert np.array_equal(quantise.encode(samples, "linear", 65_536), np.arange(65_536))


# Every row is worked out by hand: the place u in [0, 1], then floor(255.99 u + 0.005).
# mu-law: u = 1/2 + sign(a) ln(1 + 255 |a|) / (2 ln 256) with ln 256 = 5.54518. The 1e-6 matters
# only where a or u is next to the edge of a bin, that is for the zeros of mirrored chunks.
@pytest.mark.parametrize(
    ("codec", "chunk", "expected"),
    [
        # Minimum -1 and maximum 1, so a = s.
        # a = -1: u = 0, 0.005.                        a = 1: u = 1, 255.995.
        # |a| = 0.5: ln 128.5 = 4.85593, 0.87570: u = 0.06215, 15.91 and u = 0.93785, 240.09.
        # |a| = 0.1: ln 26.5 = 3.27714, 0.59099: u = 0.20450, 52.36 and u = 0.79550, 203.64.
        # s = 0: a = -1 + 2 / 2.000001 = -5e-7, ln(1 + 255 * 4.9e-7) / 5.54518 = 2.25e-5:
        # u = 0.4999887, 127.997.
        ("mulaw", [-1, -0.5, -0.1, 0, 0.1, 0.5, 1], [0, 15, 52, 127, 203, 240, 255]),
        # u = 0, 0.25, 0.45, 0.5 - 2.5e-7, 0.55, 0.75, 1:
        # 0.005, 64.0025, 115.20, 127.99994, 140.80, 191.9975, 255.995.
        ("linear", [-1, -0.5, -0.1, 0, 0.1, 0.5, 1], [0, 64, 115, 127, 140, 191, 255]),
        # The same mirrored, a thousand times quieter. s = 0: a = -1 + 0.002 / 0.002001 = -0.0005,
        # ln(1 + 255 * 0.0005) = 0.1200, 0.02164: u = 0.48918, 125.23; linear u = 0.49975, 127.94.
        # s = 0.001: a = 0.999, ln 255.745 = 5.54418, 0.99982: u = 0.99991, 255.97;
        # linear u = 0.9995, 255.87.
        ("mulaw", [-0.001, 0, 0.001], [0, 125, 255]),
        ("linear", [-0.001, 0, 0.001], [0, 127, 255]),
        # Minimum -1 and maximum 3: s = 0 is a = -0.5 and s = 2 is a = 0.5, as above;
        # linear u = 0.25 and u = 0.75.
        ("mulaw", [3, -1, 0, 2], [255, 0, 15, 240]),
        ("linear", [3, -1, 0, 2], [255, 0, 64, 191]),
        # Zero 0.05 of full scale above the middle: ln 13.75 = 2.62104, 0.47267: u = 0.73633,
        # 188.499; below: u = 0.26367, 67.500+; linear u = 0.525, 134.40.
        ("mulaw", [-1.05, 0, 0.95], [0, 188, 255]),
        ("mulaw", [-0.95, 0, 1.05], [0, 67, 255]),
        ("linear", [-1.05, 0, 0.95], [0, 134, 255]),
        # Zero 0.1 above the middle: as a = 0.1 above; linear u = 0.55.
        ("mulaw", [-1.1, 0, 0.9], [0, 203, 255]),
        ("linear", [-1.1, 0, 0.9], [0, 140, 255]),
        # One value: a = -1 + 2 * 0 / 1e-6 = -1, also for silence, which is the lowest code then.
        *((codec, [value] * 3, [0, 0, 0]) for codec in quantise.CODECS for value in (0.3, -1, 0)),
    ],
)
def test_min_max_codes_are_those_worked_out_by_hand(codec, chunk, expected):
    codes = quantise.encode_min_max(np.array(chunk, dtype=np.float64), codec)
    assert codes.tolist() == expected
    assert codes.dtype == np.uint8
    assert min_max_codes_in_float32(np.array(chunk, dtype=np.float32), codec).tolist() == expected


@CODECS
def test_the_exact_middle_of_a_min_max_chunk_is_code_128(codec):
    # a = 0 has the sign 0: 255.99 / 2 + 0.005 = 128. a = -5e-9 has the sign -1, which the 1e-8 in
    # the logarithm does not turn: 127.99997, and linear 127.9999994.
    middle = (1 + 1e-6) / 2
    chunk = np.array([0, middle - 2.5e-9, middle, 1])
    assert quantise.encode_min_max(chunk, codec).tolist() == [0, 127, 128, 255]


@CODECS
def test_min_max_codes_equal_the_rule_sample_by_sample_and_nearly_its_float32_twin(codec):
    generator = np.random.default_rng(0)
    different = 0
    for spread in (0.01, 0.1, 1.0):
        chunk = (spread * generator.standard_normal(20_000)).astype(np.float32)
        codes = quantise.encode_min_max(chunk, codec)
        assert codes.tolist() == [min_max_code(float(s), chunk.astype(float), codec) for s in chunk]
        distances = np.abs(codes - min_max_codes_in_float32(chunk, codec))
        assert distances.max() <= 1
        different += int(distances.sum())
    assert different <= 10


@pytest.mark.fault(
    "Numbers",
    "any finite samples are quantised by the baselines' min-max rule",
    "codes are in range and rise with the samples",
)
@CODECS
@given(chunk=CHUNKS)
def test_min_max_codes_of_any_finite_chunk_stay_in_range_and_rise(codec, chunk):
    codes = quantise.encode_min_max(np.sort(chunk), codec).astype(int)
    # A code out of range would wrap around in uint8 and so decrease. With mu-law the 1e-8 may
    # swap the two codes at the middle.
    assert (np.diff(codes) >= (-1 if codec == "mulaw" else 0)).all()
    assert codes[0] == 0
    span = float(chunk.max()) - float(chunk.min())
    if span >= 0.001:
        assert codes[-1] == 255
    if span == 0:
        assert not codes.any()


@CODECS
@given(
    chunk=arrays(np.int64, st.integers(1, 40), elements=st.integers(-32_768, 32_767)),
    offset=st.integers(-32_768, 32_767),
)
def test_min_max_codes_ignore_an_offset(codec, chunk, offset):
    # Of 16-bit samples the sums, and the differences from the minimum, are exact.
    codes = quantise.encode_min_max(chunk / 32_768, codec)
    assert np.array_equal(quantise.encode_min_max((chunk + offset) / 32_768, codec), codes)


@CODECS
@given(
    shape=arrays(np.float64, st.integers(0, 40), elements=st.floats(0, 1)),
    before=st.floats(0.1, 10),
    after=st.floats(0.1, 10),
)
def test_min_max_codes_ignore_a_gain_up_to_one_code(codec, shape, before, after):
    # If minimum and maximum are 0.1 or more apart, the 1e-6 moves a by 1e-5 in the middle of the
    # scale, where mu-law is steepest (5,900 codes a unit of a): by less than a tenth of a code.
    shape = np.concatenate([[0.0, 1.0], shape])
    one, other = (
        quantise.encode_min_max(shape * gain, codec).astype(int) for gain in (before, after)
    )
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("encode", [quantise.encode, quantise.encode_min_max])
@CODECS
def test_the_input_is_left_alone(codec, encode):
    samples = np.array([2.0, -2.0, 0.3], dtype=np.float32)
    encode(samples, codec)
    assert samples.tolist() == [2.0, -2.0, np.float32(0.3)]


def test_unknown_codecs_and_levels_are_refused_with_the_reason():
    for encode in (quantise.encode, quantise.encode_min_max):
        with pytest.raises(ValueError, match="'alaw' is unknown: write one of mulaw, linear"):
            encode(np.zeros(1), "alaw")
    for levels in (0, 2, 255, 257, 65_535):
        with pytest.raises(ValueError, match=f"{levels} levels are not known: write 256 or 65536"):
            quantise.encode(np.zeros(1), "linear", levels)
        with pytest.raises(ValueError, match=f"{levels} levels are not known: write 256 or 65536"):
            quantise.code_dtype(levels)
    with pytest.raises(ValueError, match="65536 levels is not known: write 256 levels, or the"):
        quantise.decode(np.zeros(1), "mulaw", 65_536)


@CODECS
def test_an_empty_chunk_is_refused_with_the_reason(codec):
    with pytest.raises(ValueError, match="A chunk of 0 samples has no minimum and maximum"):
        quantise.encode_min_max(np.zeros(0), codec)
