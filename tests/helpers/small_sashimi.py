"""A small SaShiMi."""

import torch

from model.baselines.sashimi import SaShiMi
from model.baselines.shapes import SaShiMiArchitecture


def small(**changes):
    """Return three rates with different pools, so that none can replace another."""
    return SaShiMiArchitecture(**{"layers": 2, "width": 6, "state": 8, "pools": (2, 3), **changes})


def network_of(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return SaShiMi(small(**changes)).to(dtype)
