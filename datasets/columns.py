"""A numeric column of a table as if it were audio: a number a sample, between two ends.

Tables are CSV with a header, or Parquet. The ends become the amplitudes -1 and 1; numbers beyond
them are clipped, as too loud audio is, and counted as such.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import csv, parquet

from datasets.audio import AudioError

PARQUET = b"PAR1"


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


def blocks(path: Path, series: Series) -> Iterator[np.ndarray]:
    """The column's amplitudes in order, float32 (each [any]).

    AudioError with the reason where there is no such column, where one of its cells is empty or no
    number, or where the file is no table.
    """
    row = 0
    for values in _numbers(path, series.column):
        if not np.isfinite(values).all():
            first = row + int(np.flatnonzero(~np.isfinite(values))[0])
            raise AudioError(
                f"row {first} of its column {series.column!r} (from 0) is empty or no number: "
                "fill the gaps, or cut the table into files without any"
            )
        row += len(values)
        yield series.amplitudes(values).astype(np.float32)


def _numbers(path: Path, column: str) -> Iterator[np.ndarray]:
    """The column's numbers, float64 (each [any]); a missing one is NaN."""
    try:
        with path.open("rb") as file:
            table = _parquet if file.read(len(PARQUET)) == PARQUET else _csv
        names, batches = table(path, column)
        if column not in names:
            raise AudioError(f"it has no column {column!r}: its columns are {', '.join(names)}")
        for batch in batches:
            numbers = batch.column(0).cast(pyarrow.float64())
            yield numbers.to_numpy(zero_copy_only=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise AudioError(f"it cannot be read as a table: {str(error).splitlines()[0]}") from error


def _parquet(path: Path, column: str) -> tuple[list[str], Iterator[pyarrow.RecordBatch]]:
    """The names of the columns, and the batches of one of them."""
    table = parquet.ParquetFile(path)
    return table.schema_arrow.names, table.iter_batches(columns=[column])


def _csv(path: Path, column: str) -> tuple[list[str], Iterator[pyarrow.RecordBatch]]:
    """The same of a CSV file, whose cells are read as numbers."""
    names = csv.open_csv(path).schema.names
    if column not in names:
        return names, iter(())
    options = csv.ConvertOptions(include_columns=[column], column_types={column: pyarrow.float64()})
    return names, iter(csv.open_csv(path, convert_options=options))
