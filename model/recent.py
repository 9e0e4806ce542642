"""The recent-sample path: the newest R codes, straight to the head.

A declared departure from the paper (``recent: 0`` switches it off). Through the strided encoder
alone the newest samples, which tell most about the next one, reach the head only late in training.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.architecture import (
    LINEAR_ORDER,
    RECENT_CHANNELS,
    RECENT_KERNEL,
    RECENT_STRIDE,
    Architecture,
)
from model.codes import code_amplitudes
from model.convolutions import Convolutions


class RecentOutput(NamedTuple):
    """What the newest codes say of the next one, for any leading shape.

    ``summand`` (..., D) joins the latent; ``predicted`` (...) is the linear prediction and
    ``scale`` (1,) that of its error, both in codes.
    """

    summand: Tensor
    predicted: Tensor
    scale: Tensor


class RecentPath(nn.Module):
    """Two small convolutions over the newest codes and over the linear predictor's own errors.

    The errors tell how far the linear prediction can be trusted just now; their logarithm is there
    because the best scale is nearly a weighted mean of it, which a few hundred targets teach.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.levels = architecture.levels
        filters = architecture.recent_filters
        self.stack = Convolutions(
            (RECENT_CHANNELS, filters, filters),
            RECENT_KERNEL,
            (RECENT_STRIDE, RECENT_STRIDE),
            architecture.recent_lengths[0],
            architecture.width,
        )

    def features(self, newest_BT: Tensor, predicted_BT: Tensor, scale: Tensor) -> Tensor:
        """What the convolutions see (B, 3, T) of codes (B, T) and of their predictions (B, T)."""
        errors = (newest_BT - predicted_BT) / scale
        return torch.stack(
            [
                code_amplitudes(newest_BT, self.levels, errors.dtype),
                torch.tanh(errors / 4),
                torch.log(errors.abs() + 0.05) / 2,
            ],
            1,
        )

    def forward(self, codes_BR: Tensor, predicted_BR: Tensor, scale: Tensor) -> Tensor:
        """A summand of the latent (B, D).

        ``codes`` (B, R) are the newest codes, ``predicted`` (B, R - 32) what the linear predictor
        expected for the newest R - 32 of them, ``scale`` its error's scale in codes.
        """
        summand: Tensor = self.stack(self.features(codes_BR[:, LINEAR_ORDER:], predicted_BR, scale))
        return summand

    def dense(self, codes_BT: Tensor, predicted_BT: Tensor, scale: Tensor) -> Tensor:
        """The summands (B, T - R + 1, D) after every run of R codes of (B, T).

        ``predicted`` (B, T - 32) are the expectations of the codes from the 33rd on.
        """
        return self.stack.dense(self.features(codes_BT[:, LINEAR_ORDER:], predicted_BT, scale))
