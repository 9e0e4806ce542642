"""Training and held-out data of the workers of one start: streams, shards and batches."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from ray.data import DataIterator, ExecutionOptions
from torch import Tensor

from datasets.manifest import Corpus
from datasets.stream import Stream
from model.codes import codes_tensor
from scaling.config.run_config import RunConfig
from scaling.config.run_windows import held_out_windows, training_windows
from scaling.runs.job import Job, WorkerStart

HELD_OUT_SEED = 0
"""Seed of the order of held-out windows. All runs share it, so that all are scored on the same."""
AHEAD = 2
"""Batches that are prepared while a step computes."""


def training_stream(config: RunConfig, corpus: Corpus, workers: int = 1) -> Stream:
    """Return the run's windows in its order, shared by ``workers`` workers."""
    windows = training_windows(config, corpus)
    return Stream(
        corpus.folder,
        windows,
        config.seed,
        config.train.batch,
        workers,
        corpus.levels,
        config.windows.polarity,
        config.unique_windows,
    )


def held_out_stream(config: RunConfig, corpus: Corpus, workers: int) -> Stream:
    """Return the held-out windows. Each worker takes one at a time."""
    windows = held_out_windows(config, corpus)
    return Stream(corpus.folder, windows, HELD_OUT_SEED, workers, workers, corpus.levels)


def training_shards(job: Job, start: WorkerStart) -> list[DataIterator]:
    """Return for each worker its windows from the step of the start on, in their exact order.

    A single worker reads the stream itself, without a process that splits it.
    """
    stream = training_stream(job.config, Corpus.load(job.corpus_folder), start.workers)
    dataset = stream.dataset(start.step, job.config.train.steps)
    dataset.context.execution_options = ExecutionOptions(preserve_order=True)
    if start.workers == 1:
        return [dataset.iterator()]
    return dataset.streaming_split(start.workers, equal=True)


def held_out_rows(config: RunConfig, stream: Stream, rank: int) -> dict[str, np.ndarray]:
    """Return a worker's rows of the held-out stream: position (n,) and window (n,).

    All workers together cover every held-out window. The windows are few, so that no task of Ray
    Data reads them ahead.
    """
    steps = -(-config.validation.windows // stream.workers)
    positions = np.concatenate([stream.positions(step, rank) for step in range(steps)])
    return {"position": positions, "window": stream.indexes(positions)}


def iterate_blocks(shard: Any, stream: Stream) -> Iterator[dict[str, np.ndarray]]:
    """Iterate over a worker's shard in whole blocks, since each request for rows is slow."""
    blocks: Iterator[dict[str, np.ndarray]] = shard.iter_batches(
        batch_size=stream.block_rows, batch_format="numpy", prefetch_batches=1
    )
    return blocks


def batches(
    blocks: Iterable[dict[str, np.ndarray]], stream: Stream, size: int, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """Iterate over a worker's rows in batches of ``size`` windows on ``device``.

    Args:
        blocks: position (n,), window (n,) and, if the stream's rows carry them, codes (n, T).
        stream: reads the codes of the other rows.
        size: windows B of a batch.
        device: of the tensors.

    Returns:
        Batches of position (B,), window (B,), codes (B, T) and, if windows may be padded,
        padding (B,).
    """
    made = (_batch(rows, stream, device) for rows in _split(blocks, size))
    # One thread alone gets the memory again that it frees, already mapped.
    thread = ThreadPoolExecutor(1)
    try:
        waiting = deque(thread.submit(next, made, None) for _ in range(AHEAD))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, made, None))
            yield batch
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def _split(blocks: Iterable[dict[str, np.ndarray]], size: int) -> Iterator[dict[str, np.ndarray]]:
    for block in blocks:
        for first in range(0, len(block["position"]), size):
            yield {name: values[first : first + size] for name, values in block.items()}


def _batch(rows: dict[str, Any], stream: Stream, device: torch.device) -> dict[str, Tensor]:
    if "codes" not in rows:
        rows["codes"] = stream.read(rows["position"], rows["window"])
    if stream.windows.padded:
        rows["padding"] = stream.windows.padding(rows["window"])
    # Ray Data's arrays are read-only views of shared memory.
    tensors = {
        name: codes_tensor(values)
        if name == "codes"
        else torch.from_numpy(np.require(values, requirements=["C", "W"]))
        for name, values in rows.items()
    }
    if device.type == "cpu":
        return tensors
    return {name: tensor.to(device) for name, tensor in tensors.items()}
