"""Measure the loudness of a recording: peak, root mean square, clipping and silence."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from datasets.blocks import reblocked

CLIPPING_AMPLITUDE = 1 - 2**-15  # and above: the largest amplitude of 16-bit audio
FRAMES_PER_SECOND = 10
SILENCE_RMS = 1e-3  # a frame below it (-60 dB of full scale) is silent


@dataclass(frozen=True)
class Level:
    """Peak and RMS amplitude (full scale is 1), and the numbers of clipped and silent samples."""

    peak: float
    rms: float
    clipped: int
    silent: int


class LevelMeter:
    """Meter that measures the blocks that pass through it."""

    def __init__(self, rate: int) -> None:
        self._frame = max(1, rate // FRAMES_PER_SECOND)
        self._peak, self._squares = 0.0, 0.0
        self._samples = self._clipped = self._silent = 0

    def measure(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the same samples (float32) in blocks of whole frames of a tenth of a second."""
        for block in reblocked(blocks, self._frame * 256):
            magnitudes = np.abs(block)
            self._peak = max(self._peak, float(magnitudes.max(initial=0.0)))
            self._clipped += int(np.count_nonzero(magnitudes >= CLIPPING_AMPLITUDE))
            squares = block.astype(np.float64) ** 2
            self._squares += float(squares.sum())
            starts = np.arange(0, len(block), self._frame)
            lengths = np.diff(np.append(starts, len(block)))
            quiet = np.add.reduceat(squares, starts) < SILENCE_RMS**2 * lengths
            self._silent += int(lengths[quiet].sum())
            self._samples += len(block)
            yield block

    @property
    def level(self) -> Level:
        """The level of all samples measured so far."""
        rms = float(np.sqrt(self._squares / max(self._samples, 1)))
        return Level(self._peak, rms, self._clipped, self._silent)


def merge_levels(levels: Iterable[tuple[Level, int]]) -> Level:
    """Return the level of several parts together, each given with its number of samples."""
    parts = list(levels)
    samples = sum(count for _, count in parts)
    squares = sum(level.rms**2 * count for level, count in parts)
    return Level(
        peak=max((level.peak for level, _ in parts), default=0.0),
        rms=float(np.sqrt(squares / max(samples, 1))),
        clipped=sum(level.clipped for level, _ in parts),
        silent=sum(level.silent for level, _ in parts),
    )
