"""Where a latent stands: sinusoids that are added, and rotations that attention compares."""

import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache
def sinusoids(latents: int, width: int, device: torch.device | None = None) -> Tensor:
    """Sinusoidal positions (N, D), counted back from the newest latent, which has position 0.

    Sines and cosines as in Vaswani et al. 2017 (arXiv 1706.03762, section 3.5). Counting from the
    newest end gives a latent the same position in every shorter context.
    """
    age_N1 = torch.arange(latents - 1, -1, -1, dtype=torch.float64)[:, None]
    angle_NF = age_N1 * _rates(width)
    return torch.stack([angle_NF.sin(), angle_NF.cos()], -1).flatten(1).to(device)


def rotations(indexes_N: Tensor, rates_D: Tensor) -> Tensor:
    """Cosines and signed sines (2, N, D), float64, of the rotations at these indexes.

    ``rates`` are :func:`turning_rates`.
    """
    angle_ND = indexes_N[:, None] * rates_D
    return torch.stack([angle_ND.cos(), angle_ND.sin()])


def rotate(x_D: Tensor, rotation: Tensor) -> Tensor:
    """Vectors (..., D) turned, so that products depend on the difference of two indexes alone.

    The halves of a vector are the two coordinates of D / 2 planes (Su et al. 2021, arXiv
    2104.09864, section 3.2). ``rotation`` (2, ..., D) broadcasts against ``x``.
    """
    cosine, sine = rotation.to(x_D.dtype)
    return torch.addcmul(x_D * cosine, x_D.roll(x_D.shape[-1] // 2, -1), sine)


@lru_cache
def turning_rates(width: int, device: torch.device | None = None) -> Tensor:
    """Rates (D,), float64, of both halves: the first turns back, so its sines are negative."""
    rates_F = _rates(width).to(device)
    return torch.cat([-rates_F, rates_F])


def _rates(width: int) -> Tensor:
    return torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(1e4) / width))
