"""The recent-sample path: the newest R codes, straight to the head.

A declared departure from the paper (``recent: 0`` switches it off). Through the strided encoder
alone the newest samples, which tell most about the next one, reach the head only late in training.
"""

import torch
from torch import Tensor, nn

from model.architecture import LINEAR_ORDER, RECENT_KERNEL, RECENT_STRIDE, Architecture
from model.encoder import amplitude


class RecentPath(nn.Module):
    """Two small convolutions over the newest codes and over the linear predictor's own errors.

    The errors tell how far the linear prediction can be trusted just now.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.levels = architecture.levels
        filters = architecture.recent_filters
        self.convolutions = nn.Sequential(
            nn.Conv1d(2, filters, RECENT_KERNEL, RECENT_STRIDE),
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
        errors = (newest - predicted_BR) / (4 * scale)
        x_B2R = torch.stack([amplitude(newest, self.levels, errors.dtype), torch.tanh(errors)], 1)
        summand: Tensor = self.projection(self.convolutions(x_B2R))
        return summand
