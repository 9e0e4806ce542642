"""Changes of a recording before it is quantised: gain, pitch and polarity, drawn by hashing.

A change is a pure function of (seed, epoch, recording), so that any worker, in any order and after
any restart, makes the same one. Of the three only gain and polarity are applied to samples here.
Pitch is shifted by resampling, which whoever reads the file does anyway: a frequency ratio r is
had by treating the file as if its rate were r times its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datasets import permutation

MAX_GAIN_DECIBELS = 40.0
MAX_PITCH_SEMITONES = 12.0


class AugmentationError(ValueError):
    """An augmentation that is not possible, with what is allowed."""


@dataclass(frozen=True)
class Change:
    """What is done to one recording in one epoch.

    gain: the factor of its amplitudes.
    ratio: the factor of its frequencies, above 1 for higher; its duration is divided by it.
    sign: 1, or -1 for inverted polarity.
    """

    gain: float
    ratio: float
    sign: int


@dataclass(frozen=True)
class Augmentation:
    """How far recordings may be changed; by default not at all.

    gain_decibels: the gain is uniform in decibels, within plus and minus this (0 to 40).
    pitch_semitones: the pitch shift is uniform in semitones, within plus and minus this (0 to 12).
    polarity: whether a fair coin inverts the polarity.
    seed: another one draws other changes.
    """

    gain_decibels: float = 0.0
    pitch_semitones: float = 0.0
    polarity: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise AugmentationError for a range that is not possible."""
        # Written so that NaN, which no comparison holds for, is refused too.
        if not 0 <= self.gain_decibels <= MAX_GAIN_DECIBELS:
            raise AugmentationError(
                f"A gain of up to {self.gain_decibels} decibels is not possible: "
                f"write gain_decibels from 0 to {MAX_GAIN_DECIBELS:g}."
            )
        if not 0 <= self.pitch_semitones <= MAX_PITCH_SEMITONES:
            raise AugmentationError(
                f"A pitch shift of up to {self.pitch_semitones} semitones is not possible: "
                f"write pitch_semitones from 0 to {MAX_PITCH_SEMITONES:g}."
            )

    def draw_change(self, epoch: int, name: str) -> Change:
        """The change of the recording ``name`` in an epoch: none in epoch 0, drawn from 1 on.

        The three draws are independent of each other and of the ranges: to switch one off or to
        widen its range leaves the others as they are. AugmentationError for a negative epoch.
        """
        if epoch < 0:
            raise AugmentationError(
                f"Epoch {epoch} is not possible: write 0 for the recording itself, or 1 and on."
            )
        if epoch == 0:
            return Change(gain=1.0, ratio=1.0, sign=1)
        decibels = self.gain_decibels * self._draw(epoch, name, "gain")
        semitones = self.pitch_semitones * self._draw(epoch, name, "pitch")
        inverted = self.polarity and self._draw(epoch, name, "polarity") < 0
        return Change(
            gain=10 ** (decibels / 20), ratio=2 ** (semitones / 12), sign=-1 if inverted else 1
        )

    def _draw(self, epoch: int, name: str, quantity: str) -> float:
        """A number uniform in [-1, 1), by hashing."""
        digest = permutation.derive_key("augment", self.seed, epoch, name, quantity)
        # 53 bits: all that a float holds exactly.
        return (int.from_bytes(digest, "big") >> (8 * len(digest) - 53)) / 2**52 - 1


def apply_change(blocks: Iterator[np.ndarray], change: Change) -> Iterator[np.ndarray]:
    """The blocks (each float32 [any]) with the gain and the sign of a change, as new blocks.

    The ratio is not applied: the blocks have to come from a reader that was given it. Amplitudes
    may leave [-1, 1] where the gain is above 1; ``quantise.encode`` then clips them to the
    outermost codes, and how many is the caller's to count and record. Without gain and inversion
    the samples are those of the input, bit for bit.
    """
    factor = np.float32(change.gain * change.sign)
    for block in blocks:
        yield block * factor
