"""Whether a continuation ran away: into silence, noise or clipping, or far above its prompt."""

import numpy as np
from scipy.signal import welch

from datasets import quantise
from datasets.level import Level, LevelMeter
from scaling.runs.record import CorpusFacts

BAND_SAMPLES = 512
FEWEST_SAMPLES = 8 * BAND_SAMPLES
"""A spectrum of fewer is so rough that white noise does not look flat."""

MOST_FLAT = 0.8
"""Spectral flatness (white noise 1, a tone 0) above which a sound counts as noise."""
MOST_EXTREME = 0.05
"""Share of samples at the lowest and the highest code above which a sound counts as clipped."""
MOST_DECIBELS = 20.0
"""By how much a continuation may be louder than its prompt.

A note that fades may be as much quieter, so that nothing but silence is too quiet.
"""


def degeneration_alarms(
    codes_T: np.ndarray, prompt_S: np.ndarray, corpus: CorpusFacts
) -> list[str]:
    """What is amiss with the last second of a continuation, as sentences without their subject.

    The codes are judged beside those of their prompt: a noisy or clipped one may be continued as
    such, and a silent one has no level. Empty where nothing is amiss, and where the continuation is
    shorter than a second or than 4,096 samples.
    """
    samples = max(corpus.rate, FEWEST_SAMPLES)
    if len(codes_T) < samples:
        return []
    end, given = _Sound(codes_T[-samples:], corpus), _Sound(prompt_S, corpus)
    if end.silent:
        return ["became silence: its last second is below -60 dB of full scale"]
    found = []
    if end.flatness > MOST_FLAT >= given.flatness:
        found.append(
            f"became noise: the spectral flatness of its last second is {end.flatness:.2f}, more "
            f"than {MOST_FLAT} (white noise has 1, a tone 0)"
        )
    if end.extreme > MOST_EXTREME >= given.extreme:
        found.append(
            f"clips: {end.extreme:.0%} of its last second is at the lowest or the highest code, "
            f"more than {MOST_EXTREME:.0%}"
        )
    if not given.silent:
        louder = 20 * np.log10(end.level.rms / given.level.rms)
        if louder > MOST_DECIBELS:
            found.append(
                f"became loud: its last second is {louder:.0f} dB above its prompt's level, more "
                f"than {MOST_DECIBELS:.0f} dB"
            )
    return found


def spectrum(samples_T: np.ndarray, rate: int) -> np.ndarray:
    """Power in bands of a 512th of the rate, without the one around 0 Hz."""
    power: np.ndarray = welch(samples_T, rate, nperseg=min(BAND_SAMPLES, len(samples_T)))[1][1:]
    return power


def flatness(samples_T: np.ndarray, rate: int) -> float:
    """Geometric over arithmetic mean of the spectrum: 1 for white noise, 0 for a tone."""
    power = spectrum(samples_T, rate)
    if not (power.size and power.all()):
        # A band without power makes the geometric mean 0; a sample alone has no bands.
        return 0.0
    return float(np.exp(np.log(power).mean()) / power.mean())


class _Sound:
    """What codes sound like."""

    def __init__(self, codes_T: np.ndarray, corpus: CorpusFacts) -> None:
        codes_T = codes_T.astype(np.int64)
        samples_T = quantise.decode(codes_T, corpus.codec, corpus.levels)
        # Silence lies between the two middle codes: each is half a bin off, which 8 linear bits
        # would make audible.
        samples_T[np.abs(2 * codes_T + 1 - corpus.levels) <= 1] = 0
        self.level = _level(samples_T, corpus.rate)
        self.silent = self.level.silent == len(samples_T)
        self.flatness = flatness(samples_T, corpus.rate)
        self.extreme = float(np.isin(codes_T, (0, corpus.levels - 1)).mean())


def _level(samples_T: np.ndarray, rate: int) -> Level:
    meter = LevelMeter(rate)
    for _ in meter.measure([samples_T]):
        pass
    return meter.level
