"""Codes as tensors."""

import numpy as np
import torch
from torch import Tensor


def codes_tensor(codes: np.ndarray) -> Tensor:
    """Codes (any shape), uint8 or uint16, as a tensor; 16-bit ones as int32.

    PyTorch computes with few unsigned types. Memory is shared where it can be, and it can be
    written to.
    """
    known = codes if codes.dtype == np.uint8 else codes.astype(np.int32)
    return torch.from_numpy(np.require(known, requirements=["C", "W"]))


def code_amplitudes(codes: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Codes (any shape, integers 0..levels-1) as numbers in [-1, 1], in the codes' own scale."""
    centre = (levels - 1) / 2
    return (codes.to(dtype) - centre) / centre
