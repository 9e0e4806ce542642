"""Read a numeric column of a table (CSV with a header, Parquet) as audio: a number per sample.

Two bounds become the amplitudes -1 and 1. Numbers beyond them are clipped and counted as clipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import csv, parquet

PARQUET = b"PAR1"


class SeriesError(ValueError):
    """An impossible range, or a table that cannot be read whole; the message is the reason."""


@dataclass(frozen=True)
class Series:
    """Name of a table's column, and the numbers that become the lowest and the highest code."""

    column: str
    low: float
    high: float

    def __post_init__(self) -> None:
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


def read_blocks(path: Path, series: Series) -> Iterator[np.ndarray]:
    """Yield the column's amplitudes in order, float32 (each [any]).

    SeriesError if the file is no table, has no such column, or a cell is empty or not a number.
    """
    row = 0
    for values in _read_numbers(path, series.column):
        if not np.isfinite(values).all():
            first = row + int(np.flatnonzero(~np.isfinite(values))[0])
            raise SeriesError(
                f"row {first} of its column {series.column!r} (from 0) is empty or no number: "
                "fill the gaps, or cut the table into files without any"
            )
        row += len(values)
        yield series.amplitudes(values).astype(np.float32)


def _read_numbers(path: Path, column: str) -> Iterator[np.ndarray]:
    """Yield the column's numbers, float64 (each [any]); a missing one is NaN."""
    try:
        with path.open("rb") as file:
            read = _read_parquet if file.read(len(PARQUET)) == PARQUET else _read_csv
        names, batches = read(path, column)
        if column not in names:
            raise SeriesError(f"it has no column {column!r}: its columns are {', '.join(names)}")
        for batch in batches:
            numbers = batch.column(0).cast(pyarrow.float64())
            yield numbers.to_numpy(zero_copy_only=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise SeriesError(f"it cannot be read as a table: {str(error).splitlines()[0]}") from error


def _read_parquet(path: Path, column: str) -> tuple[list[str], Iterator[pyarrow.RecordBatch]]:
    """Return the names of all columns, and the batches of one."""
    table = parquet.ParquetFile(path)
    return table.schema_arrow.names, table.iter_batches(columns=[column])


def _read_csv(path: Path, column: str) -> tuple[list[str], Iterator[pyarrow.RecordBatch]]:
    """Return the names of all columns, and the batches of one, parsed as numbers."""
    names = csv.open_csv(path).schema.names
    if column not in names:
        return names, iter(())
    options = csv.ConvertOptions(include_columns=[column], column_types={column: pyarrow.float64()})
    return names, iter(csv.open_csv(path, convert_options=options))
