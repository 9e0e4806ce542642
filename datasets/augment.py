"""Change a recording before it is quantised: gain, pitch and polarity, drawn by hashing.

A change is a pure function of (seed, epoch, recording). Any worker draws the same one, in any order
and after any restart. This module applies gain and polarity. The reader of the file shifts the
pitch as it resamples: it treats the file as if its rate were ``ratio`` times as high.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datasets import permutation

MAX_GAIN_DECIBELS = 40.0
MAX_PITCH_SEMITONES = 12.0


class AugmentationError(ValueError):
    """An impossible augmentation, with what is allowed."""


@dataclass(frozen=True)
class Change:
    """Change of one recording in one epoch.

    ``gain`` is the factor of its amplitudes. ``ratio`` is the factor of its frequencies, by which
    its duration is divided. ``sign`` is 1, or -1 for inverted polarity.
    """

    gain: float
    ratio: float
    sign: int


UNCHANGED = Change(gain=1.0, ratio=1.0, sign=1)


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the changes; by default nothing changes.

    The gain is uniform within +-``gain_decibels`` (0 to 40), the pitch shift within
    +-``pitch_semitones`` (0 to 12). ``polarity`` lets a fair coin invert the polarity.
    """

    gain_decibels: float = 0.0
    pitch_semitones: float = 0.0
    polarity: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        # `not` also refuses NaN, for which no comparison is true.
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
        """Return the change of the recording ``name`` in an epoch; epoch 0 changes nothing.

        The three draws do not depend on each other or on the ranges: switching one off, or widening
        its range, keeps the others.
        """
        if epoch == 0:
            return UNCHANGED
        decibels = self.gain_decibels * self._draw(epoch, name, "gain")
        semitones = self.pitch_semitones * self._draw(epoch, name, "pitch")
        inverted = self.polarity and self._draw(epoch, name, "polarity") < 0
        return Change(
            gain=10 ** (decibels / 20), ratio=2 ** (semitones / 12), sign=-1 if inverted else 1
        )

    def _draw(self, epoch: int, name: str, quantity: str) -> float:
        """Return a uniform number in [-1, 1) by hashing."""
        digest = permutation.derive_key("augment", self.seed, epoch, name, quantity)
        # A float is exact to 53 bits.
        return (int.from_bytes(digest, "big") >> (8 * len(digest) - 53)) / 2**52 - 1


def apply_change(blocks: Iterator[np.ndarray], change: Change) -> Iterator[np.ndarray]:
    """Yield new blocks (each float32 [any]) with the gain and the sign of a change.

    The blocks must come from a reader that applied the ratio. A gain above 1 may take amplitudes
    out of [-1, 1]; ``quantise.encode`` clips them. Without gain and inversion the samples are
    unchanged, bit for bit.
    """
    factor = np.float32(change.gain * change.sign)
    for block in blocks:
        yield block * factor
