"""The recent-sample path: the newest R codes go directly to the head.

This departs from the paper (``recent: 0`` switches it off). Through the strided encoder alone, the
newest samples, which predict the next one best, reach the head only late in training.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.architecture import (
    LINEAR_ORDER,
    RECENT_CHANNELS,
    RECENT_KERNEL,
    RECENT_STRIDES,
    Architecture,
)
from model.codes import code_amplitudes
from model.convolutions import Convolutions


class RecentOutput(NamedTuple):
    """The path's summand of the latent (..., D), and the linear prediction (...) in codes.

    ``scale`` (1,) is the scale of the prediction's logistic error, in codes.
    """

    summand: Tensor
    predicted: Tensor
    scale: Tensor


class RecentPath(nn.Module):
    """Two small convolutions over the newest codes and the linear predictor's own errors.

    The errors show how well the linear prediction fits at the moment. Their logarithm is an input
    because the best scale is nearly a weighted mean of it: a few hundred targets suffice to learn
    it.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.levels = architecture.levels
        filters = architecture.recent_filters
        self.stack = Convolutions(
            (RECENT_CHANNELS, filters, filters),
            RECENT_KERNEL,
            RECENT_STRIDES,
            architecture.recent_lengths[0],
            architecture.width,
        )

    def features(self, newest_BT: Tensor, predicted_BT: Tensor, scale: Tensor) -> Tensor:
        """Return the convolutions' input (B, 3, T) of codes (B, T) and their predictions (B, T)."""
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
        """Return the summand (B, D) after codes (B, R), given predictions of the newest R - 32."""
        summand: Tensor = self.stack(self.features(codes_BR[:, LINEAR_ORDER:], predicted_BR, scale))
        return summand

    def dense(self, codes_BT: Tensor, predicted_BT: Tensor, scale: Tensor) -> Tensor:
        """Return the summands (B, T - R + 1, D) of all runs, given predictions (B, T - 32)."""
        return self.stack.dense(self.features(codes_BT[:, LINEAR_ORDER:], predicted_BT, scale))
