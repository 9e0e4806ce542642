"""The head: the newest latent, and what the newest codes say, to what the next code may be."""

import torch
from torch import Tensor, nn

from model.architecture import Architecture
from model.likelihood import LIKELIHOODS
from model.recent import Recent


class Head(nn.Module):
    """Latent to hidden layer to a distribution, around the linear prediction where there is one."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.hidden = nn.Linear(architecture.width, architecture.hidden)
        self.dropout = nn.Dropout(architecture.head_dropout)
        self.output = nn.Linear(architecture.hidden, architecture.outputs)
        self.likelihood = LIKELIHOODS[architecture.likelihood](architecture)

    def forward(self, latent_D: Tensor, recent: Recent | None) -> Tensor:
        """What ``likelihood`` reads (..., O) for latents (..., D).

        In float32 where autocast runs them in less.
        """
        if recent is not None:
            latent_D = latent_D + recent.summand
        output: Tensor = self.output(self.dropout(torch.relu_(self.hidden(latent_D))))
        said: Tensor = self.likelihood(
            output.to(torch.promote_types(output.dtype, torch.float32)), recent
        )
        return said

    def start_silent(self) -> None:
        """Make the first output exactly zero, so that the linear start alone speaks."""
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
