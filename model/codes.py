"""Codes as tensors, and as amplitudes."""

import numpy as np
import torch
from torch import Tensor


def codes_tensor(codes: np.ndarray) -> Tensor:
    """Return codes as a tensor: uint8 as they are, uint16 as int32.

    PyTorch computes with few unsigned types. The tensor is writable, and shares memory with
    ``codes`` if it can.
    """
    supported = codes if codes.dtype == np.uint8 else codes.astype(np.int32)
    return torch.from_numpy(np.require(supported, requirements=["C", "W"]))


def code_amplitudes(codes: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Return codes (any shape, 0..levels-1) as numbers in [-1, 1], linear in the code."""
    centre = (levels - 1) / 2
    return (codes.to(dtype) - centre) / centre
