"""The shape of a corpus's configuration: which audio files, and how they become codes."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from datasets.augment import Augmentation
from datasets.columns import Series
from datasets.expectations import KnownFigures
from datasets.settings import Preparation, Settings
from datasets.sources import EVERYTHING, Patterns
from datasets.splits import SplitKind, SplitRule
from scaling.config.run_config import Name, Positive, Section


class SplitConfig(Section):
    """Which recordings, or which part of each, train, validate and test.

    ``files`` are the table or the two lists (validation, test) of a split that comes with the
    corpus, ``columns`` the table's: of the file's name, and of its split.
    """

    rule: SplitKind = "order"
    fractions: tuple[float, float, float] = (0.88, 0.06, 0.06)
    files: tuple[str, ...] = ()
    columns: tuple[str, str] = ("name", "split")

    @model_validator(mode="after")
    def _is_a_partition(self) -> Self:
        self.as_rule()
        return self

    def as_rule(self) -> SplitRule:
        """The rule that assigns recordings to splits; SplitError where it is no partition."""
        return SplitRule(self.rule, self.fractions, self.files, self.columns)


class AugmentConfig(Section):
    """How many changed copies of each training recording are added, and what changes in them.

    ``gain`` (decibels) and ``pitch`` (semitones) are drawn within plus and minus these.
    """

    copies: Annotated[int, Field(ge=0)] = 0
    gain: Annotated[float, Field(ge=0, le=40)] = 0.0
    pitch: Annotated[float, Field(ge=0, le=12)] = 0.0
    polarity: bool = False
    seed: Annotated[int, Field(ge=0)] = 0


class ExpectConfig(Section):
    """The known figures of a corpus, which ``prepare`` compares with what it is given.

    ``shortest`` and ``longest`` are samples of a file at the corpus rate, ``splits`` the numbers of
    files in train, validation and test.
    """

    files: Positive | None = None
    rate: Positive | None = None
    channels: Positive | None = None
    shortest: Positive | None = None
    longest: Positive | None = None
    splits: tuple[int, int, int] | None = None


class SeriesConfig(Section):
    """A column of the files, which are tables, and the numbers of the lowest and highest code."""

    column: str
    range: tuple[float, float]

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        self.as_series()
        return self

    def as_series(self) -> Series:
        """What is read in place of audio; SeriesError where the range is none."""
        return Series(self.column, *self.range)


class CorpusConfig(Section):
    """One corpus to prepare: which files, and how they become codes.

    ``files`` and ``exclude`` are patterns below ``root``, ``members`` and ``exclude`` patterns in
    archives among those files. ``root`` and ``destination`` are local folders or URIs such as
    s3://bucket/prefix. ``chunk`` samples are scaled together under ``scaling: chunk``. With
    ``series`` the files are CSV or Parquet tables, and every row is a sample.
    """

    name: Name
    root: str = "."
    files: tuple[str, ...] = EVERYTHING
    exclude: tuple[str, ...] = ()
    members: tuple[str, ...] = EVERYTHING
    destination: str
    licence: str
    rate: Positive = 16_000
    codec: Literal["mulaw", "linear"] = "mulaw"
    levels: Literal[256, 65_536] = 256
    scaling: Literal["none", "file", "chunk"] = "none"
    chunk: Positive | None = None
    split: SplitConfig = SplitConfig()
    join: bool = False
    augment: AugmentConfig = AugmentConfig()
    expect: ExpectConfig = ExpectConfig()
    strict: bool = False
    series: SeriesConfig | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        self.preparation()
        return self

    def preparation(self) -> Preparation:
        """Return the request to ``prepare_corpus``; SettingsError if it is impossible."""
        augment = self.augment
        augmentation = Augmentation(augment.gain, augment.pitch, augment.polarity, augment.seed)
        return Preparation(
            name=self.name,
            licence=self.licence,
            settings=Settings(
                rate=self.rate,
                codec=self.codec,
                levels=self.levels,
                scaling=self.scaling,
                chunk=self.chunk or 0,
                augmentation=augmentation,
                series=self.series.as_series() if self.series else None,
            ),
            split=self.split.as_rule(),
            patterns=Patterns(self.files, self.exclude, self.members),
            join=self.join,
            copies=augment.copies,
            expected=KnownFigures(**self.expect.model_dump()),
            strict=self.strict,
        )
