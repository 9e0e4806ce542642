"""The stream: Ray Data reads windows in our order and feeds them to the workers of a run.

Ray Data repeats neither its own order nor its position after a restart, so both are ours: the
global sequence of windows is :func:`datasets.windows.order`, step s takes positions
``[s * batch, (s + 1) * batch)`` of it, and rank r of W the r-th W-th of those. A dataset is made
for a number of workers and a first step; its blocks are dealt to the workers in turn, and every
row says which position it is, so that a worker can refuse a row that is not its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask
from ray.data.extensions import ArrowTensorArray

from datasets import shards
from datasets.windows import Windows, order

BLOCK_BYTES = 2**25
READ_CPUS = 0.25
"""Share of a CPU that a reading task claims: it copies from the page cache or waits for a disk."""


@dataclass(frozen=True)
class Stream:
    """The global sequence of batches of one run, and each worker's share of it.

    ``batch`` windows make a step, over ``workers`` workers, each with an equal share.
    """

    folder: Path
    windows: Windows
    seed: int
    batch: int
    workers: int

    @property
    def share(self) -> int:
        """Windows of one worker in one step."""
        return self.batch // self.workers

    def positions(self, step: int, rank: int) -> np.ndarray:
        """Positions (share,) in the global sequence that ``rank`` takes at ``step``."""
        first = step * self.batch + rank * self.share
        return np.arange(first, first + self.share, dtype=np.int64)

    def indexes(self, positions: np.ndarray) -> np.ndarray:
        """The windows (n,) at ``positions`` (n,) of the global sequence."""
        return order(positions, len(self.windows), self.seed)

    def read(self, position: int) -> np.ndarray:
        """The codes (window length,) of the window at one position."""
        recording, first = self.windows.locate(self.indexes(np.array([position])))
        path = self.folder / self.windows.recordings[recording[0]].shard
        return shards.read(path, int(first[0]) - self.windows.context, self.windows.length)

    def dataset(self, first_step: int, last_step: int) -> ray.data.Dataset:
        """Steps ``[first_step, last_step)`` as rows of position (int64), window (int64) and codes.

        Split over ``workers`` by ``streaming_split(equal=True)`` with the order preserved, rank r
        gets exactly ``positions(step, r)``, step after step.
        """
        per_block = max(1, BLOCK_BYTES // (self.share * self.windows.length))
        blocks = [
            _Block(start, min(start + per_block, last_step), rank)
            for start in range(first_step, last_step, per_block)
            for rank in range(self.workers)
        ]
        dataset: ray.data.Dataset = ray.data.read_datasource(
            _WindowSource(self, blocks),
            override_num_blocks=max(1, len(blocks)),
            num_cpus=READ_CPUS,
        )
        return dataset


@dataclass(frozen=True)
class _Block:
    """One worker's rows of steps [start, stop)."""

    start: int
    stop: int
    rank: int


class _WindowSource(Datasource):
    """One read task for each block. The stream itself travels once, as an object."""

    def __init__(self, stream: Stream, blocks: list[_Block]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stream = stream
        self._blocks = blocks

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all rows' codes."""
        return sum(self._rows(block) for block in self._blocks) * self._stream.windows.length

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """The tasks, in the order of the blocks, whatever parallelism is asked for."""
        reference = ray.put(self._stream)
        return [
            ReadTask(
                partial(_read, reference, block),
                BlockMetadata(
                    num_rows=self._rows(block),
                    size_bytes=self._rows(block) * self._stream.windows.length,
                    input_files=None,
                    exec_stats=None,
                ),
                per_task_row_limit=per_task_row_limit,
            )
            for block in self._blocks
        ]

    def _rows(self, block: _Block) -> int:
        return (block.stop - block.start) * self._stream.share


def _read(reference: "ray.ObjectRef[Stream]", block: _Block) -> Iterator[pa.Table]:
    stream: Stream = ray.get(reference)
    steps = range(block.start, block.stop)
    positions = np.concatenate([stream.positions(step, block.rank) for step in steps])
    codes = np.stack([stream.read(int(position)) for position in positions])
    yield pa.table(
        {
            "position": positions,
            "window": stream.indexes(positions),
            "codes": ArrowTensorArray.from_numpy(codes),
        }
    )
