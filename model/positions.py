"""Positions of latents: sinusoids that are added, and rotations of queries and keys."""

import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache
def sinusoids(latents: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return sinusoidal positions (N, D), counted back from the newest latent, at position 0.

    Sines and cosines as in Vaswani et al. 2017 (arXiv 1706.03762, section 3.5). Counted from the
    newest end, a latent has the same position in every shorter context.
    """
    age_N1 = torch.arange(latents - 1, -1, -1, dtype=torch.float64)[:, None]
    angle_NF = age_N1 * _rates(width)
    return torch.stack([angle_NF.sin(), angle_NF.cos()], -1).flatten(1).to(device)


def rotations(indexes_N: Tensor, rates_D: Tensor) -> Tensor:
    """Return the cosines and signed sines (2, N, D), float64, of :func:`turning_rates` at (N,)."""
    angle_ND = indexes_N[:, None] * rates_D
    return torch.stack([angle_ND.cos(), angle_ND.sin()])


def rotate(x_D: Tensor, rotation: Tensor) -> Tensor:
    """Rotate vectors (..., D), so that products depend only on the difference of two positions.

    The halves of a vector are the two coordinates of D / 2 planes (RoPE: Su et al. 2021, arXiv
    2104.09864, section 3.2). ``rotation`` (2, ..., D) broadcasts against ``x_D``.
    """
    cosine, sine = rotation.to(x_D.dtype)
    return torch.addcmul(x_D * cosine, x_D.roll(x_D.shape[-1] // 2, -1), sine)


@lru_cache
def turning_rates(width: int, device: torch.device | None = None) -> Tensor:
    """Return rotation rates (D,), float64, in radians a position; the first half is negative."""
    rates_F = _rates(width).to(device)
    return torch.cat([-rates_F, rates_F])


def _rates(width: int) -> Tensor:
    return torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(1e4) / width))
