"""Alarms for degenerate continuations: silence, noise, clipping, or much louder than the prompt."""

from typing import TypeVar

import numpy as np
from scipy.signal import welch
from torch import Tensor

from datasets import quantise
from datasets.level import LevelMeter
from scaling.runs.record import CorpusFacts

Codes = TypeVar("Codes", np.ndarray, Tensor)

BAND_SAMPLES = 512
FEWEST_SAMPLES = 8 * BAND_SAMPLES
"""Fewest samples to judge: white noise has a flat spectrum only with as many."""

MOST_FLAT = 0.8
"""Spectral flatness (1 for white noise, 0 for a tone) above which a sound counts as noise."""
MOST_EXTREME = 0.05
"""Share of samples at the lowest and the highest code above which a sound counts as clipped."""
MOST_DECIBELS = 20.0
"""Decibels by which a continuation may be louder than its prompt.

There is no lower limit but silence: a fading note may be quieter by as much.
"""


def degeneration_alarms(
    codes_T: np.ndarray, prompt_S: np.ndarray, corpus: CorpusFacts
) -> list[str]:
    """Return the problems of a continuation's last second, as sentences without their subject.

    A noisy or clipped prompt may be continued as such, and a silent one has no level to compare.
    A continuation of less than a second or than 4,096 samples is not judged.
    """
    samples = max(corpus.rate, FEWEST_SAMPLES)
    if len(codes_T) < samples:
        return []
    end, prompt = _Sound(codes_T[-samples:], corpus), _Sound(prompt_S, corpus)
    if end.silent:
        return ["became silence: its last second is below -60 dB of full scale"]
    alarms = []
    if end.flatness > MOST_FLAT >= prompt.flatness:
        alarms.append(
            f"became noise: the spectral flatness of its last second is {end.flatness:.2f}, more "
            f"than {MOST_FLAT} (white noise has 1, a tone 0)"
        )
    if end.extreme > MOST_EXTREME >= prompt.extreme:
        alarms.append(
            f"clips: {end.extreme:.0%} of its last second is at the lowest or the highest code, "
            f"more than {MOST_EXTREME:.0%}"
        )
    if not prompt.silent:
        louder = 20 * np.log10(end.level.rms / prompt.level.rms)
        if louder > MOST_DECIBELS:
            alarms.append(
                f"became loud: its last second is {louder:.0f} dB above its prompt's level, more "
                f"than {MOST_DECIBELS:.0f} dB"
            )
    return alarms


def spectrum(samples_T: np.ndarray, rate: int) -> np.ndarray:
    """Return the power in bands of rate / 512 (Hz) each, without the band around 0 Hz."""
    power: np.ndarray = welch(samples_T, rate, nperseg=min(BAND_SAMPLES, len(samples_T)))[1][1:]
    return power


def flatness(samples_T: np.ndarray, rate: int) -> float:
    """Return the geometric over the arithmetic mean of the spectrum: 1 for white noise."""
    power = spectrum(samples_T, rate)
    if not (power.size and power.all()):
        # A band without power makes the geometric mean 0. A single sample has no bands.
        return 0.0
    return float(np.exp(np.log(power).mean()) / power.mean())


def is_silent(codes: Codes, levels: int) -> Codes:
    """Return whether each code is one of the two middle ones, between which silence lies."""
    return abs(2 * codes + 1 - levels) <= 1


class _Sound:
    """Level, flatness and share of extreme codes of a sound."""

    def __init__(self, codes_T: np.ndarray, corpus: CorpusFacts) -> None:
        codes_T = codes_T.astype(np.int64)
        samples_T = quantise.decode(codes_T, corpus.codec, corpus.levels)
        # A middle code is half a bin off zero, which is audible with 8 linear bits.
        samples_T[is_silent(codes_T, corpus.levels)] = 0
        meter = LevelMeter(corpus.rate)
        for _ in meter.measure([samples_T]):
            pass
        self.level = meter.level
        self.silent = self.level.silent == len(samples_T)
        self.flatness = flatness(samples_T, corpus.rate)
        self.extreme = float(np.isin(codes_T, (0, corpus.levels - 1)).mean())
