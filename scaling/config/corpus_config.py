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
    """Assignment of recordings, or of parts of each, to train, validation and test."""

    rule: SplitKind = "order"
    """Rule of assignment: by file order, by time within each recording, by a hash of the name, or
    by the corpus's own table or lists.
    """
    fractions: tuple[float, float, float] = (0.88, 0.06, 0.06)
    """Shares of train, validation and test; they sum to 1. Unit: fraction."""
    files: tuple[str, ...] = ()
    """The table (`table`), or the lists of validation and test files (`lists`), as patterns below
    the root.
    """
    columns: tuple[str, str] = ("name", "split")
    """Columns of the table: the name of a file, and its split."""

    @model_validator(mode="after")
    def _is_a_partition(self) -> Self:
        self.as_rule()
        return self

    def as_rule(self) -> SplitRule:
        """The rule that assigns recordings to splits; SplitError where it is no partition."""
        return SplitRule(self.rule, self.fractions, self.files, self.columns)


class AugmentConfig(Section):
    """Changed copies of training recordings, drawn by hashing."""

    copies: Annotated[int, Field(ge=0)] = 0
    """Changed copies of each training recording. Unit: copies."""
    gain: Annotated[float, Field(ge=0, le=40)] = 0.0
    """Largest change of loudness, up or down. Unit: decibels."""
    pitch: Annotated[float, Field(ge=0, le=12)] = 0.0
    """Largest shift of pitch, up or down. Unit: semitones."""
    polarity: bool = False
    """Invert each copy with probability 1/2."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the changes."""


class ExpectConfig(Section):
    """Known figures of a corpus, which ``prepare`` compares with the files."""

    files: Positive | None = None
    """Number of files. Unit: files."""
    rate: Positive | None = None
    """Sample rate of the files. Unit: hertz."""
    channels: Positive | None = None
    """Channels of the files. Unit: channels."""
    shortest: Positive | None = None
    """Length of the shortest file at the corpus rate. Unit: samples."""
    longest: Positive | None = None
    """Length of the longest file at the corpus rate. Unit: samples."""
    splits: tuple[int, int, int] | None = None
    """Number of files in train, validation and test. Unit: files."""


class SeriesConfig(Section):
    """Numeric column of tables that is read in place of audio."""

    column: str
    """Name of the column."""
    range: tuple[float, float]
    """Values of the lowest and the highest code. Unit: the column's."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        self.as_series()
        return self

    def as_series(self) -> Series:
        """What is read in place of audio; SeriesError where the range is none."""
        return Series(self.column, *self.range)


class CorpusConfig(Section):
    """Files of a corpus, and how they become codes."""

    name: Name
    """Name of the corpus."""
    root: str = "."
    """Folder of the files, or a URI such as `s3://bucket/prefix`."""
    files: tuple[str, ...] = EVERYTHING
    """Patterns of files and archives to read, relative to the root."""
    exclude: tuple[str, ...] = ()
    """Patterns of files, folders and archive members to leave out."""
    members: tuple[str, ...] = EVERYTHING
    """Patterns of files to read inside archives."""
    destination: str
    """Folder or URI of the prepared corpus."""
    licence: str
    """Licence and source of the recordings."""
    rate: Positive = 16_000
    """Sample rate of the codes. Unit: hertz."""
    codec: Literal["mulaw", "linear"] = "mulaw"
    """Quantiser of amplitudes."""
    levels: Literal[256, 65_536] = 256
    """Number of codes. Unit: codes."""
    scaling: Literal["none", "file", "chunk"] = "none"
    """Scaling of amplitudes before quantisation: none, by file, or by chunk (the published
    baselines' rule).
    """
    chunk: Positive | None = None
    """Samples that are scaled together, for `scaling: chunk` only. Unit: samples."""
    split: SplitConfig = SplitConfig()
    """Assignment of recordings to train, validation and test."""
    join: bool = False
    """Join consecutive files of one take into one recording."""
    augment: AugmentConfig = AugmentConfig()
    """Changed copies of training recordings."""
    expect: ExpectConfig = ExpectConfig()
    """Known figures of the corpus; `prepare` reports differences."""
    strict: bool = False
    """Stop if any file cannot be used."""
    series: SeriesConfig | None = None
    """Read a column of CSV or Parquet tables in place of audio, one sample per row
    (`docs/series.md`).
    """

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
