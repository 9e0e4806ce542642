"""Stream windows in a fixed order to the workers of a run, through Ray Data.

Ray Data repeats neither its own order nor its position after a restart, so this module fixes both.
The global sequence of windows is :func:`datasets.windows.order_windows`. Step s takes its positions
``[s * batch, (s + 1) * batch)``, and each of W ranks an equal, contiguous share of them. A dataset
is made for a number of workers and a first step. Its blocks go to the workers in turn. Every row
carries its position, so that a worker can refuse a row of another worker.

If workers can map the shards into memory, a row is a position alone. The worker cuts the window
during the previous step and copies nothing but the window itself. Otherwise Ray Data's tasks read
the windows ahead on all nodes, and rows carry the codes (``python -m scaling bench data`` measures
both).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask
from ray.data.extensions import ArrowTensorArray

from datasets import shards
from datasets.permutation import derive_key, permute
from datasets.quantise import code_dtype
from datasets.storage import Folder
from datasets.windows import Windows, order_windows

BLOCK_BYTES = 2**25  # of codes
BLOCK_ROWS = 2**12  # without codes
ID_BYTES = 8
READ_CPUS = 0.25  # a reading task only waits for the network, or counts


@dataclass(frozen=True)
class Stream:
    """The global sequence of batches of one run, and each worker's share of it.

    ``batch`` windows make a step, divided equally over ``workers``. ``levels`` is the number of
    levels of the codes. With ``polarity`` a fair coin, drawn from (seed, epoch, index), inverts
    each window. With ``unique`` an epoch has only that many windows, drawn by the seed; a smaller
    draw is part of a larger one.
    """

    folder: Folder
    windows: Windows
    seed: int
    batch: int
    workers: int
    levels: int = 256
    polarity: bool = False
    unique: int | None = None

    @property
    def windows_in_epoch(self) -> int:
        """Number of windows before one is repeated."""
        return self.unique or len(self.windows)

    @property
    def carries_codes(self) -> bool:
        """Return whether rows carry codes, because workers cannot map the shards."""
        return self.folder.local is None

    @property
    def windows_per_worker(self) -> int:
        """Windows of one worker in one step."""
        return self.batch // self.workers

    @property
    def bytes_per_window(self) -> int:
        """Bytes of the codes of one window."""
        return self.windows.length * code_dtype(self.levels).itemsize

    @property
    def block_rows(self) -> int:
        """Windows of one worker in one block of the dataset, a multiple of a step's."""
        rows = BLOCK_BYTES // self.bytes_per_window if self.carries_codes else BLOCK_ROWS
        return max(1, rows // self.windows_per_worker) * self.windows_per_worker

    def positions(self, step: int, rank: int) -> np.ndarray:
        """Return the positions [windows per worker] that ``rank`` takes at ``step``."""
        first = step * self.batch + rank * self.windows_per_worker
        return np.arange(first, first + self.windows_per_worker, dtype=np.int64)

    def indexes(self, positions: np.ndarray) -> np.ndarray:
        """Return the window indexes [n] at ``positions`` [n] of the global sequence."""
        indexes = order_windows(positions, self.windows_in_epoch, self.seed)
        if self.unique is None:
            return indexes
        return permute(indexes, len(self.windows), derive_key("unique", self.seed))

    def read(self, positions: np.ndarray, indexes: np.ndarray | None = None) -> np.ndarray:
        """Read the codes [n, window length] of the windows at ``positions`` [n].

        ``indexes`` [n] are those of :meth:`indexes`, if already computed. Samples before a
        recording's first one are filled with the code of silence.
        """
        indexes = self.indexes(positions) if indexes is None else indexes
        recordings, firsts = self.windows.locate(indexes)
        codes = np.empty((len(indexes), self.windows.length), dtype=code_dtype(self.levels))
        located = zip(recordings.tolist(), firsts.tolist(), strict=True)
        for row, (recording, first) in enumerate(located):
            begin = first - self.windows.context
            filler = max(0, -begin)
            codes[row, :filler] = self.levels // 2
            location = self.windows.recordings[recording].location
            shards.read_into(codes[row, filler:], self.folder, location, begin + filler)
        if self.polarity:
            epochs = positions // self.windows_in_epoch
            inverted = np.array(
                [
                    derive_key("polarity", self.seed, epoch, index)[0] & 1
                    for epoch, index in zip(epochs.tolist(), indexes.tolist(), strict=True)
                ],
                dtype=bool,
            )
            codes[inverted] = self.levels - 1 - codes[inverted]
        return codes

    def dataset(self, first_step: int, last_step: int) -> ray.data.Dataset:
        """Return steps ``[first_step, last_step)`` as rows of position and window (int64).

        If :attr:`carries_codes`, rows have the codes too. Split over ``workers`` by
        ``streaming_split(equal=True)`` with the order preserved, rank r gets exactly
        ``positions(step, r)``, step after step.
        """
        per_block = self.block_rows // self.windows_per_worker
        blocks = [
            _Block(start, min(start + per_block, last_step), rank)
            for start in range(first_step, last_step, per_block)
            for rank in range(self.workers)
        ]
        dataset: ray.data.Dataset = ray.data.read_datasource(
            _WindowSource(self, blocks), override_num_blocks=max(1, len(blocks)), num_cpus=READ_CPUS
        )
        return dataset


class _Block(NamedTuple):
    """One worker's rows of steps [start, stop)."""

    start: int
    stop: int
    rank: int


class _WindowSource(Datasource):
    """Datasource with one read task per block. The stream itself travels once, as an object."""

    def __init__(self, stream: Stream, blocks: list[_Block]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stream = stream
        self._blocks = blocks

    def estimate_inmemory_data_size(self) -> int:
        """Return the bytes of all rows."""
        return sum(map(self._size, self._blocks))

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """Return the tasks in the order of the blocks, whatever parallelism is asked for."""
        reference = ray.put(self._stream)
        return [
            ReadTask(
                partial(_read, reference, block),
                BlockMetadata(
                    num_rows=self._rows(block),
                    size_bytes=self._size(block),
                    input_files=None,
                    exec_stats=None,
                ),
                per_task_row_limit=per_task_row_limit,
            )
            for block in self._blocks
        ]

    def _rows(self, block: _Block) -> int:
        return (block.stop - block.start) * self._stream.windows_per_worker

    def _size(self, block: _Block) -> int:
        codes = self._stream.bytes_per_window if self._stream.carries_codes else 0
        return self._rows(block) * (2 * ID_BYTES + codes)


def _read(reference: "ray.ObjectRef[Stream]", block: _Block) -> Iterator[pa.Table]:
    stream: Stream = ray.get(reference)
    steps = range(block.start, block.stop)
    positions = np.concatenate([stream.positions(step, block.rank) for step in steps])
    columns = {"position": positions, "window": stream.indexes(positions)}
    if stream.carries_codes:
        columns["codes"] = ArrowTensorArray.from_numpy(stream.read(positions))
    yield pa.table(columns)
