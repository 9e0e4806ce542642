"""The rows of a stream as batches of tensors, cut ahead of the step that takes them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from ray.data.collate_fn import NumpyBatchCollateFn
from torch import Tensor

from datasets.stream import Stream

AHEAD = 2
"""Batches that are made ready while a step computes."""


class Cut(NumpyBatchCollateFn):
    """Makes of rows position, window, codes (B, T) and, where windows may be padded, padding (B,).

    Ray Data calls it in threads of the worker, so that it overlaps with the step.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __call__(self, batch: dict[str, np.ndarray]) -> Any:
        """The tensors of a batch of rows."""
        if "codes" not in batch:
            batch = {**batch, "codes": self._stream.read(batch["position"])}
        if self._stream.windows.padded:
            batch["padding"] = self._stream.windows.padding(batch["window"])
        return {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in batch.items()}


def batches(shard: Any, stream: Stream, size: int) -> Iterator[dict[str, Tensor]]:
    """A worker's ``shard`` of the stream's dataset in batches of ``size`` windows."""
    return iter(
        shard.iter_torch_batches(batch_size=size, prefetch_batches=AHEAD, collate_fn=Cut(stream))
    )
