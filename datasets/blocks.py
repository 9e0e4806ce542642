"""Streams of blocks of any length, as blocks of one length."""

from collections.abc import Iterable, Iterator

import numpy as np


def reblocked(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same values (each block [any]) in blocks [size], the last one shorter."""
    pending: list[np.ndarray] = []
    held = 0
    for block in blocks:
        while held + len(block) >= size:
            taken = size - held
            yield np.concatenate([*pending, block[:taken]])
            pending, held, block = [], 0, block[taken:]
        pending.append(block)
        held += len(block)
    if held:
        yield np.concatenate(pending)
