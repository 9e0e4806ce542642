"""Store the codes of recordings as Parquet files that are read at random, one slice per window.

A row group has one row, a block: ``recording`` (string), ``offset`` (int64, of its first code)
and ``codes`` (large_binary: 2**24 codes, fewer in a recording's last block; uint8, or little-endian
uint16 for more than 256 levels). A recording's blocks are consecutive. Nothing is compressed or
dictionary-encoded, so a block's codes are the last bytes of its column chunk (Parquet format, "Data
Pages": header, length, value). A read is therefore a slice of the file: of a memory map for a local
file, of an object by its byte range otherwise.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.blocks import reblocked
from datasets.quantise import FINE_LEVELS, LEVELS, code_dtype
from datasets.storage import Folder

BLOCK = 2**24
MAX_OPEN_FILES = 256
COLUMNS = 3
DTYPES = {str(levels).encode(): code_dtype(levels) for levels in (LEVELS, FINE_LEVELS)}
LENGTH_BYTES = 4  # of the length that precedes a binary value in a Parquet page


class ShardError(ValueError):
    """A read that a shard cannot answer, with the reason."""


@dataclass(frozen=True)
class ShardLocation:
    """Location of a recording's codes: its shard, first row group, and number of samples."""

    shard: str
    row: int
    samples: int


class ShardWriter:
    """Writer of a shard, recording by recording. Memory is bounded by one block."""

    def __init__(self, path: Path, levels: int) -> None:
        fields = [
            pa.field("recording", pa.string(), nullable=False),
            pa.field("offset", pa.int64(), nullable=False),
            pa.field("codes", pa.large_binary(), nullable=False),
        ]
        self._schema = pa.schema(fields, metadata={"levels": str(levels)})
        self._dtype = code_dtype(levels)
        self._file = pq.ParquetWriter(
            path, self._schema, compression="none", use_dictionary=False, write_statistics=False
        )
        self._rows = 0

    def add(self, recording: str, blocks: Iterable[np.ndarray]) -> tuple[int, int]:
        """Write the codes (each [any]) of a recording; return its first row and its samples."""
        first, samples = self._rows, 0
        for codes in reblocked(blocks, BLOCK):
            content = codes.astype(self._dtype, copy=False).tobytes()
            self._file.write_table(
                pa.table([[recording], [samples], [content]], schema=self._schema)
            )
            samples += len(codes)
            self._rows += 1
        return first, samples

    def close(self) -> None:
        """Write the footer, without which the file is no shard."""
        self._file.close()


def read(folder: Folder, location: ShardLocation, begin: int, length: int) -> np.ndarray:
    """Return codes [length] of a recording from sample ``begin``; ShardError beyond its ends.

    A slice of one block of a local file is a read-only view; any other slice is a copy. Open files
    are cached in the process.
    """
    parts = list(_read_parts(folder, location, begin, length))
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, _open(folder, location.shard).dtype)


def read_into(out: np.ndarray, folder: Folder, location: ShardLocation, begin: int) -> None:
    """Read the codes from sample ``begin`` on into ``out`` [length], with one copy."""
    filled = 0
    for part in _read_parts(folder, location, begin, len(out)):
        out[filled : filled + len(part)] = part
        filled += len(part)


def read_row_groups(folder: Folder, shard: str) -> list[tuple[str, int]]:
    """Return each row group's recording and offset; OSError or ArrowException if it is no shard."""
    system, path = folder.filesystem_path(shard)
    try:
        with system.open_input_file(path) as file:
            table = pq.ParquetFile(file).read(["recording", "offset"])
        return list(zip(table["recording"].to_pylist(), table["offset"].to_pylist(), strict=True))
    except (KeyError, UnicodeDecodeError) as error:
        # One flipped bit can change a column's name, or make it invalid text.
        raise OSError(f"it is no shard: {error}") from error


def _read_parts(
    folder: Folder, location: ShardLocation, begin: int, length: int
) -> Iterator[np.ndarray]:
    """Yield codes [length] of a recording from sample ``begin``, block by block."""
    end = begin + length
    if begin < 0 or length < 0 or end > location.samples:
        raise ShardError(
            f"{location.shard} has samples 0..{location.samples - 1} of the recording; "
            f"{length} from {begin} are not all among them."
        )
    shard = _open(folder, location.shard)
    for block in range(begin // BLOCK, -(-end // BLOCK)):
        first = block * BLOCK
        size = min(BLOCK, location.samples - first)
        start, stop = max(begin - first, 0), min(end - first, size)
        yield shard.slice(location.row + block, size, start, stop)


class _OpenShard:
    """A shard's bytes, and the end of each of its blocks."""

    def __init__(self, folder: Folder, name: str) -> None:
        system, path = folder.filesystem_path(name)
        self.name = name
        try:
            if folder.local is None:
                self._file: Any = system.open_input_file(path)
                footer = pq.read_metadata(self._file)
            else:
                footer = pq.read_metadata(path)
                self._map = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise _unreadable(folder, name, error) from error
        self._local = folder.local is not None
        levels = (footer.metadata or {}).get(b"levels", b"")
        if footer.num_columns != COLUMNS or levels not in DTYPES:
            raise ShardError(
                f"{name} of {folder} is a Parquet file and no shard: prepare the corpus again."
            )
        self.dtype = DTYPES[levels]
        columns = (footer.row_group(row).column(2) for row in range(footer.num_row_groups))
        self._ends = [column.data_page_offset + column.total_compressed_size for column in columns]

    def slice(self, row: int, size: int, start: int, stop: int) -> np.ndarray:
        """Return the codes [stop - start] of the block ``row``, which has ``size`` codes."""
        width = self.dtype.itemsize
        if row >= len(self._ends):
            raise ShardError(f"{self.name} has no row group {row}: prepare the corpus again.")
        first = self._ends[row] - size * width
        stated = self._bytes(max(0, first - LENGTH_BYTES), max(0, first))
        if int.from_bytes(stated.tobytes(), "little") != size * width:
            raise ShardError(
                f"Row group {row} of {self.name} does not have the {size} codes that the manifest "
                "states: prepare the corpus again."
            )
        found = self._bytes(first + start * width, first + stop * width)
        return found if width == 1 else found.view(self.dtype)

    def _bytes(self, first: int, end: int) -> np.ndarray:
        if self._local:
            return self._map[first:end]
        return np.frombuffer(self._file.read_at(end - first, first), dtype=np.uint8)


def _unreadable(folder: Folder, name: str, error: Exception) -> ShardError:
    return ShardError(
        f"The shard {name} of {folder} cannot be read ({error}): prepare the corpus again."
    )


def _open(folder: Folder, name: str) -> _OpenShard:
    if folder.local is None:
        # The name alone identifies it, as it is a hash of the content.
        return _open_cached(folder, name, 0, 0)
    try:
        status = os.stat(f"{folder.uri}/{name}")
    except OSError as error:
        raise _unreadable(folder, name, error) from error
    # A replaced file is opened again.
    return _open_cached(folder, name, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=MAX_OPEN_FILES)
def _open_cached(folder: Folder, name: str, modified: int, inode: int) -> _OpenShard:
    return _OpenShard(folder, name)
