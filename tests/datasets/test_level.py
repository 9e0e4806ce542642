import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.level import CLIPPING_AMPLITUDE, Level, LevelMeter, merge_levels

RATE = 30
FRAME = 3  # samples in a tenth of a second


def signal(samples, seed=0):
    """Return loud and clipped noise between frames of silence and near silence."""
    generator = np.random.default_rng(seed)
    loudness = generator.choice([0.0, 5e-4, 2e-3, 0.3, 3.0], samples // FRAME + 1)
    values = generator.uniform(-1, 1, samples) * np.repeat(loudness, FRAME)[:samples]
    return values.clip(-1, 1).astype(np.float32)


def measured(blocks, rate=RATE):
    meter = LevelMeter(rate)
    passed = list(meter.measure(blocks))
    return meter.level, np.concatenate([np.empty(0, np.float32), *passed])


def direct(samples):
    frames = [samples[i : i + FRAME].astype(float) for i in range(0, len(samples), FRAME)]
    return Level(
        peak=float(np.abs(samples).max()),
        rms=float(np.sqrt(np.mean(samples.astype(float) ** 2))),
        clipped=int(np.sum(np.abs(samples) >= 1 - 2**-15)),
        silent=sum(len(frame) for frame in frames if np.sqrt(np.mean(frame**2)) < 1e-3),
    )


def test_the_signal_of_these_tests_is_clipped_and_silent_in_parts():
    level = direct(signal(5_000))
    assert 0 < level.clipped < level.silent < 5_000


@pytest.mark.parametrize("samples", [1, 2, 3, 700, 768, 769, 5_000])
def test_a_level_equals_its_direct_computation(samples):
    values = signal(samples)
    found, passed = measured([values])
    expected = direct(values)
    assert np.array_equal(passed, values)
    assert (found.peak, found.clipped, found.silent) == (
        expected.peak,
        expected.clipped,
        expected.silent,
    )
    assert found.rms == pytest.approx(expected.rms, rel=1e-12)


@given(sizes=st.lists(st.integers(0, 900), max_size=6))
def test_the_blocks_do_not_show(sizes):
    values = signal(sum(sizes), seed=1)
    found, passed = measured(np.split(values, np.cumsum(sizes)[:-1]))
    assert found == measured([values])[0]
    assert np.array_equal(passed, values)


@pytest.mark.fault(
    "Audio files", "the sound is clipped", "the file is used, and counted as clipped"
)
def test_full_scale_of_sixteen_bits_is_clipped_and_a_step_below_is_not():
    values = np.array([32767, -32768, 32766, -32767], dtype=np.float32) / 32768
    assert measured([values])[0].clipped == 3
    assert CLIPPING_AMPLITUDE == 32767 / 32768


@pytest.mark.parametrize(("amplitude", "silent"), [(0.0, 30), (9.9e-4, 30), (1.01e-3, 0)])
def test_silence_is_a_tenth_of_a_second_under_a_thousandth_of_full_scale(amplitude, silent):
    assert measured([np.full(30, amplitude, np.float32)])[0].silent == silent


def test_a_rest_of_less_than_a_tenth_of_a_second_is_silent_by_its_own_length():
    values = np.array([0, 0, 0, 1.2e-3], dtype=np.float32)
    assert measured([values])[0].silent == 3
    assert measured([values / 2])[0].silent == 4


def test_a_rate_of_less_than_ten_samples_a_second_has_frames_of_one_sample():
    assert measured([np.array([0, 1, 0, 0], np.float32)], rate=5)[0].silent == 3


def test_nothing_has_no_level():
    assert measured([])[0] == merge_levels([]) == Level(0.0, 0.0, 0, 0)


@given(frames=st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_the_level_of_parts_together_is_that_of_the_whole(frames):
    values = signal(FRAME * sum(frames), seed=2)
    parts = np.split(values, np.cumsum(frames)[:-1] * FRAME)
    found = merge_levels((measured([part])[0], len(part)) for part in parts)
    whole = measured([values])[0]
    assert (found.peak, found.clipped, found.silent) == (whole.peak, whole.clipped, whole.silent)
    assert found.rms == pytest.approx(whole.rms, rel=1e-12)
