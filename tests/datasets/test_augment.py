import dataclasses
import math

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from datasets import quantise
from datasets.augment import Augmentation, AugmentationError, Change, apply_change

FULL = Augmentation(gain_decibels=6.0, pitch_semitones=2.0, polarity=True, seed=3)
NONE = Change(gain=1.0, ratio=1.0, sign=1)
NAMES = [f"recording {index}.wav" for index in range(2_000)]


def shifted(samples: np.ndarray, source_rate: int, rate: int, ratio: float) -> np.ndarray:
    """Resample as a reader does that treats the file's rate as ``ratio`` times as high."""
    resampler = soxr.ResampleStream(source_rate * ratio, rate, 1, dtype="float32")
    blocks = [resampler.resample_chunk(block) for block in np.array_split(samples, 7)]
    return np.concatenate([*blocks, resampler.resample_chunk(samples[:0], last=True)])


def test_a_change_is_a_function_of_seed_epoch_and_name():
    again = Augmentation(gain_decibels=6.0, pitch_semitones=2.0, polarity=True, seed=3)
    changes = [FULL.draw_change(epoch, name) for epoch in (1, 2) for name in NAMES[:50]]
    backwards = [
        again.draw_change(epoch, name) for epoch in (2, 1) for name in reversed(NAMES[:50])
    ]
    assert changes == backwards[::-1]


@pytest.mark.parametrize(
    ("seed", "epoch", "name"), [(4, 1, "a.wav"), (3, 2, "a.wav"), (3, 1, "b.wav"), (3, 1, "")]
)
def test_another_seed_epoch_or_name_draws_another_change(seed, epoch, name):
    one = FULL.draw_change(1, "a.wav")
    other = dataclasses.replace(FULL, seed=seed).draw_change(epoch, name)
    assert one.gain != other.gain
    assert one.ratio != other.ratio


def test_changes_are_pinned_for_all_time():
    # Pinned: finished runs are repeated with these changes.
    change = FULL.draw_change(1, "a.wav")
    assert change.gain == pytest.approx(0.8903671871059654, rel=1e-12)
    assert change.ratio == pytest.approx(1.0226763617288885, rel=1e-12)
    assert [FULL.draw_change(epoch, "a.wav").sign for epoch in range(1, 9)] == [
        -1,
        -1,
        -1,
        -1,
        -1,
        1,
        -1,
        -1,
    ]


def test_epoch_0_is_the_recording_itself():
    assert all(FULL.draw_change(0, name) == NONE for name in NAMES[:50])


def test_the_draws_are_uniform_and_have_nothing_to_do_with_each_other():
    changes = [FULL.draw_change(1, name) for name in NAMES]
    decibels = np.array([20 * math.log10(change.gain) for change in changes])
    semitones = np.array([12 * math.log2(change.ratio) for change in changes])
    signs = np.array([change.sign for change in changes])
    for values, limit in ((decibels, 6.0), (semitones, 2.0)):
        assert np.abs(values).max() <= limit * (1 + 1e-12)
        # The mean of 2,000 has a standard error of limit / 77, and rarely errs by four.
        assert abs(values.mean()) < 4 * limit / 77
        # 200 are expected in each tenth of the range: chi-squared, 9 degrees of freedom.
        parts = np.histogram(values, bins=10, range=(-limit, limit))[0]
        assert ((parts - 200) ** 2 / 200).sum() < 40
    assert abs((signs == -1).sum() - 1_000) < 4 * math.sqrt(500)
    assert set(signs.tolist()) == {1, -1}
    correlations = np.corrcoef([decibels, semitones, signs]) - np.eye(3)
    assert np.abs(correlations).max() < 0.1
    following = np.array([20 * math.log10(FULL.draw_change(2, name).gain) for name in NAMES])
    assert abs(np.corrcoef(decibels, following)[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("setting", "off", "field", "unchanged"),
    [
        ("gain_decibels", 0.0, "gain", 1.0),
        ("pitch_semitones", 0.0, "ratio", 1.0),
        ("polarity", False, "sign", 1),
    ],
)
@given(seed=st.integers(), epoch=st.integers(1, 2**40), name=st.text())
def test_switching_one_off_leaves_the_others_alone(
    setting, off, field, unchanged, seed, epoch, name
):
    everything = dataclasses.replace(FULL, seed=seed)
    without = dataclasses.replace(everything, **{setting: off})
    expected = dataclasses.replace(everything.draw_change(epoch, name), **{field: unchanged})
    assert without.draw_change(epoch, name) == expected


def test_nothing_is_changed_by_default_bit_for_bit():
    changes = {
        Augmentation(seed=seed).draw_change(1, name) for seed in (0, 7) for name in NAMES[:50]
    }
    assert changes == {NONE}
    samples = np.array([0.0, -0.0, 1e-45, -1.5, 0.1, 3.4e38, np.inf], dtype=np.float32)
    (block,) = apply_change(iter([samples]), NONE)
    assert block.tobytes() == samples.tobytes()


def test_gain_and_sign_multiply_float32_samples_in_any_blocks():
    samples = np.linspace(-1, 1, 1_001, dtype=np.float32)
    whole = next(apply_change(iter([samples]), Change(gain=2.0, ratio=1.5, sign=-1)))
    assert whole.dtype == np.float32
    assert np.array_equal(whole, -2 * samples)
    blocks = [samples[:10], samples[10:10], samples[10:]]
    pieces = apply_change(iter(blocks), Change(gain=2.0, ratio=1.0, sign=-1))
    assert np.array_equal(np.concatenate(list(pieces)), whole)


def test_samples_that_a_gain_moves_beyond_1_get_the_outermost_codes():
    samples = np.array([-0.8, 0.0, 0.8], dtype=np.float32)
    (louder,) = apply_change(iter([samples]), Change(gain=2.0, ratio=1.0, sign=1))
    assert np.abs(louder).max() == pytest.approx(1.6)
    assert quantise.encode(louder, "linear").tolist() == [0, 128, 255]


@pytest.mark.parametrize(("source_rate", "rate"), [(16_000, 16_000), (44_100, 16_000)])
@pytest.mark.parametrize("semitones", [-12, -1, 1, 7])
def test_resampling_from_a_rate_times_the_ratio_shifts_the_pitch(source_rate, rate, semitones):
    ratio = 2 ** (semitones / 12)
    sine = np.sin(2 * np.pi * 440 * np.arange(8 * source_rate) / source_rate).astype(np.float32)
    samples = shifted(sine, source_rate, rate, ratio)
    # The duration is the inverse: 8 s become 8 / ratio.
    assert len(samples) == pytest.approx(8 * rate / ratio, abs=1)
    seconds = len(samples) / rate
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    # 466.16 Hz for one semitone up; the lines of the spectrum are 1 / seconds apart.
    assert spectrum.argmax() / seconds == pytest.approx(440 * ratio, abs=1 / seconds)


def test_a_semitone_above_440_hertz_is_466_point_16_hertz():
    sine = np.sin(2 * np.pi * 440 * np.arange(100 * 16_000) / 16_000).astype(np.float32)
    samples = shifted(sine, 16_000, 16_000, 2 ** (1 / 12))
    frequencies = np.fft.rfftfreq(len(samples), 1 / 16_000)
    peak = frequencies[np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax()]
    assert peak == pytest.approx(466.16, abs=0.01)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"gain_decibels": -1.0},
            "A gain of up to -1.0 decibels is not possible: write .* 0 to 40",
        ),
        ({"gain_decibels": 40.5}, "A gain of up to 40.5 decibels"),
        ({"gain_decibels": math.nan}, "A gain of up to nan decibels"),
        ({"pitch_semitones": -0.1}, "A pitch shift of up to -0.1 semitones is not possible"),
        ({"pitch_semitones": 13.0}, "write pitch_semitones from 0 to 12"),
        ({"pitch_semitones": math.inf}, "A pitch shift of up to inf semitones"),
    ],
)
def test_impossible_ranges_are_refused_with_the_reason(values, message):
    with pytest.raises(AugmentationError, match=message):
        Augmentation(**values)
