"""The request of a preparation: the audio files, and the settings that decide their codes."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datasets import quantise
from datasets.augment import Augmentation
from datasets.columns import Series
from datasets.expectations import KnownFigures
from datasets.sources import Patterns
from datasets.splits import SplitRule

SCALINGS = ("none", "file", "chunk")


class SettingsError(ValueError):
    """Impossible settings, with what is allowed."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the codes of an audio file, beside the file itself.

    ``rate`` is in Hz. ``chunk`` is the number of samples scaled together under scaling "chunk", the
    rule of the published baselines, and 0 otherwise. ``series`` is set if a table's column is read
    instead of audio, one sample a row.
    """

    rate: int
    codec: str
    levels: int
    scaling: str
    chunk: int = 0
    augmentation: Augmentation = field(default=Augmentation())
    series: Series | None = None

    def __post_init__(self) -> None:
        try:
            quantise.encode(np.zeros(1), self.codec, self.levels)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        if self.scaling not in SCALINGS:
            raise SettingsError(
                f"Scaling {self.scaling!r} is not known: write {' or '.join(SCALINGS)}."
            )
        if (self.scaling == "chunk") != (self.chunk > 0):
            raise SettingsError(
                f"Scaling {self.scaling!r} with a chunk of {self.chunk} samples is not possible: "
                "scaling 'chunk' needs a chunk (131072 is the baselines'), the others none."
            )
        if self.scaling == "chunk" and self.levels != quantise.LEVELS:
            raise SettingsError(
                f"Scaling 'chunk' has {quantise.LEVELS} levels by definition, not {self.levels}: "
                f"write {quantise.LEVELS} levels or scaling 'none'."
            )
        if self.series and self.augmentation.pitch_semitones:
            raise SettingsError(
                "A pitch shift resamples audio and has no meaning for a series: leave "
                "augment.pitch out."
            )

    def identity(self) -> dict[str, Any]:
        """Return all settings as plain values; for audio, without ``series``."""
        plain = dataclasses.asdict(self)
        if self.series is None:
            del plain["series"]
        return plain


@dataclass(frozen=True)
class Preparation:
    """Request of a preparation.

    ``join`` makes one recording of consecutive files in one split. ``copies`` is the number of
    changed copies of each training recording (``settings.augmentation``). ``strict`` allows no
    file to be left out and no difference from the ``expected`` figures.
    """

    name: str
    licence: str
    settings: Settings
    split: SplitRule
    patterns: Patterns = field(default=Patterns())
    join: bool = False
    copies: int = 0
    expected: KnownFigures = field(default=KnownFigures())
    strict: bool = False

    def __post_init__(self) -> None:
        changes = self.settings.augmentation
        if (changes != Augmentation(seed=changes.seed)) != (self.copies > 0):
            raise SettingsError(
                f"{self.copies} changed copies with a gain of up to {changes.gain_decibels:g} "
                f"decibels, a pitch shift of up to {changes.pitch_semitones:g} semitones and "
                f"{'' if changes.polarity else 'no '}inverted polarity: write both, copies of 1 or "
                "more and a change in them, or neither."
            )
