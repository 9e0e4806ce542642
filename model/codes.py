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
