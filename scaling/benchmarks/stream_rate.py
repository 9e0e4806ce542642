"""Windows per second that workers get from the stream, and by slicing a memory map.

A consumer takes batches like the training loop. Plain slicing copies the same windows in the same
order from a memory map of all codes. Both ways keep a batch until the next one exists, as the loop
does: copies into memory that was just freed, and is still in the cache, would be faster.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from scaling.benchmarks.timing import Spread
from scaling.training.data import AHEAD, batches, iterate_blocks

SHARD, RAW = "codes.parquet", "codes.raw"
SAMPLES = 2**27
"""Samples of the recording from which windows are cut."""
BLOCK = 2**22
BATCH = 8
ROUND_BYTES = 2**30
"""Bytes of codes that a consumer takes per round."""
DRAINED = 4
"""Before each round, one batch in this many is taken without being counted."""
REPEATS = 5
SEED = 0


@dataclass(frozen=True)
class StreamRate:
    """Windows per second of all consumers together, in the steady state, of 8-bit samples.

    ``way`` is "mapped" or "carried" (:mod:`datasets.stream`), ``window`` is in samples.
    ``of_plain`` are the ratios of the two rates in neighbouring rounds, and ``of_plain_cpu`` those
    per second of CPU time. A running consumer waits ``first_seconds`` for its first batch.
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
        """Return the bytes of codes per second, of all consumers together."""
        return self.rate.median * self.window


def write_random_recording(folder: Path) -> Recording:
    """Write random codes to ``folder``, as a shard with one recording and as raw bytes."""
    draws = np.random.default_rng(SEED)
    with (folder / RAW).open("wb") as file:
        for begin in range(0, SAMPLES, BLOCK):
            file.write(draws.integers(0, 256, min(BLOCK, SAMPLES - begin), dtype=np.uint8).data)
    codes = np.memmap(folder / RAW, dtype=np.uint8, mode="r")
    writer = shards.ShardWriter(folder / SHARD, 256)
    row, samples = writer.add("codes", (codes[i : i + BLOCK] for i in range(0, SAMPLES, BLOCK)))
    writer.close()
    level = Level(peak=1.0, rms=1.0, clipped=0, silent=0)
    return Recording("codes", SHARD, row, samples, (), level, 0, {"train": (0, samples)})


def measure_stream_rates(
    folder: Path, cases: Sequence[tuple[str, int, int]], repeats: int = REPEATS
) -> Iterator[StreamRate]:
    """Measure each (way, consumers, window) on codes in ``folder``; Ray must be connected."""
    only = write_random_recording(folder)
    for way, consumers, window in cases:
        place = Folder.of(f"file://{folder}" if way == "carried" else folder)
        windows = Windows((only,), ((0, only.samples),), window - 1, 1, 1, window - 1)
        stream = Stream(place, windows, SEED, BATCH * consumers, consumers)
        yield _measure(stream, folder / RAW, repeats)


def _measure(stream: Stream, raw: Path, repeats: int) -> StreamRate:
    window = stream.windows.length
    count = max(1, ROUND_BYTES // (BATCH * window))
    drained = max(AHEAD, count // DRAINED)
    remote: Any = ray.remote(num_cpus=1)(Consumer)
    consumers = [remote.remote(stream, raw) for _ in range(stream.workers)]
    dataset = stream.dataset(0, 1 + repeats * (drained + count) + AHEAD)
    dataset.context.execution_options = ExecutionOptions(preserve_order=True)
    parts = dataset.streaming_split(stream.workers, equal=True)

    def together(method: str, *arguments: Any) -> np.ndarray:
        """Call a method of all consumers at once; return their results [consumers, ...]."""
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
        way="carried" if stream.carries_codes else "mapped",
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
    """Worker that takes batches and discards them."""

    def __init__(self, stream: Stream, raw: Path) -> None:
        torch.set_num_threads(1)
        self._stream = stream
        self._codes = np.memmap(raw, dtype=np.uint8, mode="r")
        self._positions: list[np.ndarray] = []

    def ready(self) -> bool:
        """Return after the process has started."""
        return True

    def first(self, part: Any) -> float:
        """Begin with this part of the stream; return the seconds until the first batch."""
        began = time.perf_counter()
        blocks = iterate_blocks(part, self._stream)
        self._batches = batches(blocks, self._stream, BATCH, torch.device("cpu"))
        next(self._batches)
        return time.perf_counter() - began

    def streamed(self, drained: int, count: int) -> tuple[float, float]:
        """Take ``drained`` prepared batches; return wall and CPU seconds of the next ``count``."""
        for _ in range(drained):
            next(self._batches)
        began, used = time.perf_counter(), time.process_time()
        self._positions = []
        for _ in range(count):
            batch = next(self._batches)
            self._positions.append(batch["position"].numpy())
        return time.perf_counter() - began, time.process_time() - used

    def plain(self) -> tuple[float, float]:
        """Slice the windows of the last round from the memory map; return wall and CPU seconds."""
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
    """Return the batch (B, length) of the windows that begin at ``begins``."""
    batch = np.empty((len(begins), length), dtype=codes.dtype)
    for row, begin in enumerate(begins):
        batch[row] = codes[begin : begin + length]
    return torch.from_numpy(batch)
