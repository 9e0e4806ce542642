"""Regroup a stream of blocks."""

from collections.abc import Iterable, Iterator

import numpy as np


def reblocked(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yield the values of ``blocks`` (each [any]) in blocks [size]; the last one may be shorter."""
    pending: list[np.ndarray] = []
    count = 0
    for block in blocks:
        while count + len(block) >= size:
            taken = size - count
            yield np.concatenate([*pending, block[:taken]])
            pending, count, block = [], 0, block[taken:]
        pending.append(block)
        count += len(block)
    if count:
        yield np.concatenate(pending)
