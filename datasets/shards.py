"""Shards: the codes of one recording as one Parquet file that is read at random.

A row group holds one row: ``recording`` (string), ``offset`` (int64, of the first code) and
``codes`` (large_binary, 2**18 of them, fewer in the last row). Nothing is compressed, indexed or
put in a dictionary, so a read costs the row groups it touches, copied from the page cache.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.files import replacing

BLOCK = 2**18
OPEN_FILES = 256
SCHEMA = pa.schema(
    [("recording", pa.string()), ("offset", pa.int64()), ("codes", pa.large_binary())]
)


class ShardError(ValueError):
    """A read that a shard cannot answer, with the reason."""


def write(path: Path, recording: str, blocks: Iterable[np.ndarray]) -> tuple[int, str]:
    """Write the uint8 blocks (each [any]) of a recording as the shard ``path``, at once or not.

    Memory is bounded by one block. Returns the number of samples and the file's SHA-256 (hex).
    """
    samples = 0
    with replacing(path) as partial:
        with pq.ParquetWriter(
            partial, SCHEMA, compression="none", use_dictionary=False, write_statistics=False
        ) as writer:
            for codes in _regular(blocks):
                row = [[recording], [samples], [codes.tobytes()]]
                writer.write_table(pa.table(row, schema=SCHEMA))
                samples += len(codes)
        with partial.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return samples, digest


def read(path: Path, begin: int, length: int) -> np.ndarray:
    """Codes [length] (uint8) of a shard from sample ``begin``; ShardError beyond its ends.

    Opened files are kept for the process; a shard that was replaced is opened again.
    """
    file, samples = _open(str(path), path.stat().st_mtime_ns)
    if begin < 0 or length < 0 or begin + length > samples:
        raise ShardError(
            f"{path.name} holds samples 0..{samples - 1}; "
            f"{length} from {begin} are not all among them."
        )
    codes = np.empty(length, dtype=np.uint8)
    end = begin + length
    for group in range(begin // BLOCK, -(-end // BLOCK)):
        first = group * BLOCK
        start, stop = max(begin, first), min(end, first + BLOCK)
        codes[start - begin : stop - begin] = _block(file, group)[start - first : stop - first]
    return codes


def codes(path: Path) -> Iterator[np.ndarray]:
    """The blocks [2**18] (uint8, the last one shorter) of a shard, in order."""
    file, _ = _open(str(path), path.stat().st_mtime_ns)
    for group in range(file.num_row_groups):
        yield _block(file, group)


@lru_cache(maxsize=OPEN_FILES)
def _open(path: str, modified: int) -> tuple[pq.ParquetFile, int]:
    """A memory-mapped shard and its number of samples; ``modified`` keeps a stale one out."""
    file = pq.ParquetFile(path, memory_map=True)
    last = file.num_row_groups - 1
    return file, 0 if last < 0 else last * BLOCK + len(_block(file, last))


def _block(file: pq.ParquetFile, group: int) -> np.ndarray:
    column = file.read_row_group(group, columns=["codes"], use_threads=False).column(0)
    return np.frombuffer(column[0].as_buffer(), dtype=np.uint8)


def _regular(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same codes cut into blocks of ``BLOCK``, the last one shorter."""
    pending: list[np.ndarray] = []
    held = 0
    for block in blocks:
        pending.append(block)
        held += len(block)
        if held >= BLOCK:
            joined = np.concatenate(pending)
            whole = held - held % BLOCK
            yield from np.split(joined[:whole], whole // BLOCK)
            pending, held = [joined[whole:]], held - whole
    if held:
        yield np.concatenate(pending)
