"""Spectrograms of sounds, and thumbnails with the waveform above."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

WINDOW_SECONDS = 0.032
MOST_COLUMNS = 2_000
QUIETEST_DB = -100.0
MOST_POINTS = 1_000
INK = "#808080"
"""Legible on a light page and on a dark one."""


def spectrogram(amplitudes_T: np.ndarray, before: int, rate: int, title: str) -> Figure:
    """Draw the spectrogram of amplitudes (T,); the first ``before`` are the prompt's."""
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    image = _draw(axes, amplitudes_T, before, rate)
    axes.axvline(0, color="white", linewidth=1)
    axes.set_xlabel("seconds after the continuation begins")
    axes.set_ylabel("frequency (Hz)")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="level (dB, 0 is a sine of full scale)")
    return figure


def thumbnail(amplitudes_T: np.ndarray, rate: int) -> bytes:
    """Return a small PNG: the waveform's extremes over time, and the spectrogram below."""
    figure = Figure(figsize=(5, 1.9), dpi=100, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    size = max(1, len(amplitudes_T) // MOST_POINTS)
    parts_PT = amplitudes_T[: len(amplitudes_T) // size * size].reshape(-1, size)
    seconds_P = np.arange(len(parts_PT)) * size / rate
    above.fill_between(seconds_P, parts_PT.min(1), parts_PT.max(1), color=INK, linewidth=0.5)
    above.set_ylim(-1, 1)
    _draw(below, amplitudes_T, 0, rate)
    below.set_xlabel("seconds", fontsize=7, color=INK)
    below.set_ylabel("Hz", fontsize=7, color=INK)
    for axes in (above, below):
        axes.tick_params(labelsize=7, colors=INK)
        axes.patch.set_alpha(0)
        axes.spines[:].set_color(INK)
    above.tick_params(labelbottom=False)
    png = io.BytesIO()
    figure.savefig(png, format="png", transparent=True)
    return png.getvalue()


def _draw(axes: Axes, amplitudes_T: np.ndarray, before: int, rate: int) -> AxesImage:
    size = min(max(2, round(WINDOW_SECONDS * rate)), len(amplitudes_T))
    hop = max(1, size // 4, -(-len(amplitudes_T) // MOST_COLUMNS))
    # With this scale a full-scale sine has 0 dB.
    transform = ShortTimeFFT(
        hann(size, sym=False), hop, rate, fft_mode="onesided2X", scale_to="magnitude"
    )
    columns = -(-len(amplitudes_T) // hop)
    power_FT = transform.spectrogram(
        amplitudes_T.astype(np.float64), p0=0, p1=columns, padding="even"
    )
    level_FT = 10 * np.log10(np.maximum(power_FT, 10 ** (QUIETEST_DB / 10)))
    # A column lies at the middle of its window, and a row at its frequency.
    left, right = ((hop * column - before) / rate for column in (-0.5, columns - 0.5))
    half = transform.delta_f / 2
    extent = (left, right, -half, transform.f[-1] + half)
    image = axes.imshow(
        level_FT, origin="lower", aspect="auto", extent=extent, vmin=QUIETEST_DB, vmax=0
    )
    axes.set_xlim(-before / rate, (len(amplitudes_T) - before) / rate)
    axes.set_ylim(0, rate / 2)
    return image
