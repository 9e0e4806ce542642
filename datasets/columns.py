"""A numeric column of a table, used as audio: one number per sample, between two bounds.

The bounds become the amplitudes -1 and 1. Numbers beyond them are clipped and counted as clipped.
"""

from dataclasses import dataclass

import numpy as np


class SeriesError(ValueError):
    """Invalid range of a series."""


@dataclass(frozen=True)
class Series:
    """Name of a table's column, and the numbers that become the lowest and the highest code."""

    column: str
    low: float
    high: float

    def __post_init__(self) -> None:
        """Raise SeriesError if the bounds are not two finite numbers in order."""
        if not -np.inf < self.low < self.high < np.inf:
            raise SeriesError(
                f"The range of a series is {self.low} to {self.high}: write two numbers, the lower "
                "one first."
            )

    def amplitudes(self, values: np.ndarray) -> np.ndarray:
        """Map numbers [T] to amplitudes [T]: 2 (x - low) / (high - low) - 1."""
        scaled: np.ndarray = 2 * (values - self.low) / (self.high - self.low) - 1
        return scaled

    def values(self, amplitudes: np.ndarray) -> np.ndarray:
        """Map amplitudes [T] back to numbers [T]."""
        numbers: np.ndarray = (amplitudes + 1) / 2 * (self.high - self.low) + self.low
        return numbers
