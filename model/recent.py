"""The recent-sample path: the newest R codes, straight to the head.

A declared departure from the paper (``recent: 0`` switches it off). Through the strided encoder
alone the newest samples, which tell most about the next one, reach the head only late in training.
"""

import torch
from torch import Tensor, nn

from model.architecture import (
    LINEAR_ORDER,
    RECENT_CHANNELS,
    RECENT_KERNEL,
    RECENT_STRIDE,
    Architecture,
)
from model.encoder import amplitude


class RecentPath(nn.Module):
    """Two small convolutions over the newest codes and over the linear predictor's own errors.

    The errors tell how far the linear prediction can be trusted just now; their logarithm is there
    because the best scale is nearly a weighted mean of it, which a few hundred targets teach.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.levels = architecture.levels
        filters = architecture.recent_filters
        self.convolutions = nn.Sequential(
            nn.Conv1d(RECENT_CHANNELS, filters, RECENT_KERNEL, RECENT_STRIDE),
            nn.ReLU(),
            nn.Conv1d(filters, filters, RECENT_KERNEL, RECENT_STRIDE),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.projection = nn.Linear(filters * architecture.recent_lengths[2], architecture.width)

    def forward(self, codes_BR: Tensor, predicted_BR: Tensor, scale: Tensor) -> Tensor:
        """A summand of the latent (B, D).

        ``codes`` (B, R) are the newest codes, ``predicted`` (B, R - 32) what the linear predictor
        expected for the newest R - 32 of them, ``scale`` its error's scale in codes.
        """
        newest = codes_BR[:, LINEAR_ORDER:]
        errors = (newest - predicted_BR) / scale
        features = [
            amplitude(newest, self.levels, errors.dtype),
            torch.tanh(errors / 4),
            torch.log(errors.abs() + 0.05) / 2,
        ]
        summand: Tensor = self.projection(self.convolutions(torch.stack(features, 1)))
        return summand
