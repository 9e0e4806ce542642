"""What the ranks of a run tell each other besides gradients: numbers, as float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed


def all_gather(values: Sequence[float], workers: int, device: Any) -> np.ndarray:
    """What each rank says, on every rank: of shape (workers, values)."""
    own = torch.tensor(values, dtype=torch.float64, device=device)
    parts = [torch.empty_like(own) for _ in range(workers)]
    torch.distributed.all_gather(parts, own)
    return np.array([part.tolist() for part in parts])


def all_reduce_sum(values: Sequence[float], device: Any) -> list[float]:
    """The sums of what all ranks say."""
    own = torch.tensor(values, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(own)
    return list(map(float, own.tolist()))
