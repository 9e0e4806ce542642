"""Windows a second that workers are given by the stream, and by slicing a memory map.

A consumer is a process like a worker of a run and takes batches as the training loop does. Plain
slicing is what a single process would do without any of this: the same windows in the same order,
each copied from a memory map of all codes straight into its row of a new batch. Both ways a batch
is kept until the next one is there, as a loop does: into memory that was just freed, and lies in
the processor's cache, copies are faster.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
import ray
import torch
from ray.data import ExecutionOptions

from datasets import shards
from datasets.level import Level
from datasets.manifest import Recording
from datasets.storage import Folder
from datasets.stream import Stream
from datasets.windows import Windows
from scaling.training.data import AHEAD, batches, iterate_blocks

SHARD, RAW = "codes.parquet", "codes.raw"
SAMPLES = 2**27
"""Samples of the recording that windows are cut from."""
BLOCK = 2**22
BATCH = 8
ROUND_BYTES = 2**30
"""Bytes of codes that a consumer takes in one round."""
DRAINED = 4
"""A round is preceded by this share of its batches, which are not counted."""
REPEATS = 5
SEED = 0


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, and their range."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of one value or more."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class StreamRate:
    """What so many consumers at once were given, of windows of ``window`` 8-bit samples.

    ``way`` is "mapped" or "carried" (:mod:`datasets.stream`). ``rate`` and ``plain_rate`` are
    windows a second of all consumers together, in the steady state; ``of_plain`` are the ratios of
    neighbouring rounds, ``of_plain_cpu`` those of windows a second of CPU time of the consumers.
    ``first_seconds`` is how long a running consumer waits for its first batch.
    """

    way: str
    consumers: int
    window: int
    batch: int
    rate: Spread
    plain_rate: Spread
    of_plain: Spread
    of_plain_cpu: Spread
    first_seconds: float

    @property
    def bytes_per_second(self) -> float:
        """Bytes of codes a second, of all consumers together."""
        return self.rate.median * self.window


def write_random_recording(folder: Path) -> Recording:
    """Random codes in ``folder``: as a shard with one recording, and as bytes one after another."""
    draws = np.random.default_rng(SEED)
    with (folder / RAW).open("wb") as file:
        for begin in range(0, SAMPLES, BLOCK):
            file.write(draws.integers(0, 256, min(BLOCK, SAMPLES - begin), dtype=np.uint8).data)
    codes = np.memmap(folder / RAW, dtype=np.uint8, mode="r")
    writer = shards.Writer(folder / SHARD, 256)
    row, samples = writer.add("codes", (codes[i : i + BLOCK] for i in range(0, SAMPLES, BLOCK)))
    writer.close()
    level = Level(peak=1.0, rms=1.0, clipped=0, silent=0)
    return Recording("codes", SHARD, row, samples, (), level, 0, {"train": (0, samples)})


def measure_stream_rates(
    folder: Path, cases: Sequence[tuple[str, int, int]], repeats: int = REPEATS
) -> Iterator[StreamRate]:
    """Measure each (way, consumers, window) on codes made in ``folder``; Ray must be connected."""
    only = write_random_recording(folder)
    for way, consumers, window in cases:
        place = Folder.of(f"file://{folder}" if way == "carried" else folder)
        windows = Windows((only,), ((0, only.samples),), window - 1, 1, 1, window - 1)
        stream = Stream(place, windows, SEED, BATCH * consumers, consumers)
        yield _delivery(stream, folder / RAW, repeats)


def _delivery(stream: Stream, raw: Path, repeats: int) -> StreamRate:
    window = stream.windows.length
    count = max(1, ROUND_BYTES // (BATCH * window))
    drained = max(AHEAD, count // DRAINED)
    remote: Any = ray.remote(num_cpus=1)(Consumer)
    consumers = [remote.remote(stream, raw) for _ in range(stream.workers)]
    dataset = stream.dataset(0, 1 + repeats * (drained + count) + AHEAD)
    dataset.context.execution_options = ExecutionOptions(preserve_order=True)
    parts = dataset.streaming_split(stream.workers, equal=True)

    def together(method: str, *arguments: Any) -> np.ndarray:
        """What each consumer answers [consumers, ...]."""
        return np.array(ray.get([getattr(c, method).remote(*arguments) for c in consumers]))

    together("ready")
    first = ray.get([c.first.remote(part) for c, part in zip(consumers, parts, strict=True)])
    streamed, plain = [], []
    for _ in range(repeats):
        streamed.append(together("streamed", drained, count))
        plain.append(together("plain"))
    for consumer in consumers:
        ray.kill(consumer)
    taken = BATCH * count
    # [repeats, wall and CPU]: windows a second, summed over the consumers.
    rates, plain_rates = (taken / np.array(s) for s in (streamed, plain))
    summed, plain_summed = rates.sum(1), plain_rates.sum(1)
    ratios = summed / plain_summed
    return StreamRate(
        way="carried" if stream.carried else "mapped",
        consumers=stream.workers,
        window=window,
        batch=BATCH,
        rate=Spread.of(summed[:, 0].tolist()),
        plain_rate=Spread.of(plain_summed[:, 0].tolist()),
        of_plain=Spread.of(ratios[:, 0].tolist()),
        of_plain_cpu=Spread.of(ratios[:, 1].tolist()),
        first_seconds=max(first),
    )


class Consumer:
    """A worker that takes batches and does nothing with them."""

    def __init__(self, stream: Stream, raw: Path) -> None:
        torch.set_num_threads(1)
        self._stream = stream
        self._codes = np.memmap(raw, dtype=np.uint8, mode="r")
        self._positions: list[np.ndarray] = []

    def ready(self) -> bool:
        """Answer once the process has started."""
        return True

    def first(self, part: Any) -> float:
        """Begin to take this part of the stream; seconds until the first batch is there."""
        began = time.perf_counter()
        blocks = iterate_blocks(part, self._stream)
        self._batches = batches(blocks, self._stream, BATCH, torch.device("cpu"))
        next(self._batches)
        return time.perf_counter() - began

    def streamed(self, drained: int, count: int) -> tuple[float, float]:
        """Take batches from the stream, and so many more; the wall and CPU seconds of the latter.

        The first ones were made ready while nobody took any.
        """
        for _ in range(drained):
            next(self._batches)
        began, used = time.perf_counter(), time.process_time()
        self._positions = []
        for _ in range(count):
            batch = next(self._batches)
            self._positions.append(batch["position"].numpy())
        return time.perf_counter() - began, time.process_time() - used

    def plain(self) -> tuple[float, float]:
        """Cut the windows of the last round by plain slicing; the wall and the CPU seconds."""
        windows, length = self._stream.windows, self._stream.windows.length
        firsts = [
            (windows.locate(self._stream.indexes(positions))[1] - windows.context).tolist()
            for positions in self._positions
        ]
        began, used = time.perf_counter(), time.process_time()
        for begins in firsts:
            batch = slice_windows(self._codes, begins, length)
            assert batch.shape == (BATCH, length)
        return time.perf_counter() - began, time.process_time() - used


def slice_windows(codes: np.ndarray, begins: Sequence[int], length: int) -> torch.Tensor:
    """The batch (B, length) of the windows that begin there."""
    batch = np.empty((len(begins), length), dtype=codes.dtype)
    for row, begin in enumerate(begins):
        batch[row] = codes[begin : begin + length]
    return torch.from_numpy(batch)
