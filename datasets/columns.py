"""A numeric column of a table as if it were audio: a number a sample, between two ends.

The ends become the amplitudes -1 and 1; numbers beyond them are clipped, as too loud audio is, and
counted as such.
"""

from dataclasses import dataclass

import numpy as np


class SeriesError(ValueError):
    """A range that is none."""


@dataclass(frozen=True)
class Series:
    """Which column of a table, and the numbers that become the lowest and the highest code."""

    column: str
    low: float
    high: float

    def __post_init__(self) -> None:
        """Raise SeriesError where the ends are not two numbers in order."""
        if not -np.inf < self.low < self.high < np.inf:
            raise SeriesError(
                f"The range of a series is {self.low} to {self.high}: write two numbers, the lower "
                "one first."
            )

    def amplitudes(self, values: np.ndarray) -> np.ndarray:
        """Numbers [T] as amplitudes, 2 (x - low) / (high - low) - 1."""
        scaled: np.ndarray = 2 * (values - self.low) / (self.high - self.low) - 1
        return scaled

    def values(self, amplitudes: np.ndarray) -> np.ndarray:
        """What :meth:`amplitudes` undoes."""
        numbers: np.ndarray = (amplitudes + 1) / 2 * (self.high - self.low) + self.low
        return numbers
