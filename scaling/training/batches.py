"""The rows of a stream as batches of tensors, cut ahead of the step that takes them."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.stream import Stream
from model.codes import codes_tensor

AHEAD = 2
"""Batches that are made ready while a step computes."""


def iterate_blocks(shard: Any, stream: Stream) -> Iterator[dict[str, np.ndarray]]:
    """A worker's ``shard`` of the stream's dataset in whole blocks: each asking costs a lot."""
    blocks: Iterator[dict[str, np.ndarray]] = shard.iter_batches(
        batch_size=stream.block_rows, batch_format="numpy", prefetch_batches=1
    )
    return blocks


def batches(
    blocks: Iterable[dict[str, np.ndarray]], stream: Stream, size: int, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """A worker's rows of the stream, in batches of ``size`` windows on ``device``.

    A block holds position (n,), window (n,) and, where the stream's rows carry them, codes (n, T).
    A batch holds position (B,), window (B,), codes (B, T) and, where windows may be padded,
    padding (B,).
    """
    made = (_made(rows, stream, device) for rows in _pieces(blocks, size))
    # One thread, which takes turns with nobody: what it frees it gets again, already mapped.
    thread = ThreadPoolExecutor(1)
    try:
        waiting = deque(thread.submit(next, made, None) for _ in range(AHEAD))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, made, None))
            yield batch
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def _pieces(blocks: Iterable[dict[str, np.ndarray]], size: int) -> Iterator[dict[str, np.ndarray]]:
    """The rows, ``size`` at a time."""
    for block in blocks:
        for first in range(0, len(block["position"]), size):
            yield {name: values[first : first + size] for name, values in block.items()}


def _made(rows: dict[str, np.ndarray], stream: Stream, device: torch.device) -> dict[str, Tensor]:
    if "codes" not in rows:
        rows["codes"] = stream.read(rows["position"], rows["window"])
    if stream.windows.padded:
        rows["padding"] = stream.windows.padding(rows["window"])
    # Ray Data's arrays are views of shared memory that cannot be written to.
    tensors = {
        name: codes_tensor(values)
        if name == "codes"
        else torch.from_numpy(np.require(values, requirements=["C", "W"]))
        for name, values in rows.items()
    }
    if device.type == "cpu":
        return tensors
    return {name: tensor.to(device) for name, tensor in tensors.items()}
