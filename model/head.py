"""The head: the newest latent, and what the newest codes say, to the logits of the next code."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.architecture import Architecture
from model.linear import discretised_logistic


class Recent(NamedTuple):
    """What the newest codes say of the next one, for any leading shape.

    ``summand`` (..., D) joins the latent; ``predicted`` (...) is the linear prediction and
    ``scale`` (1,) that of its error, both in codes.
    """

    summand: Tensor
    predicted: Tensor
    scale: Tensor


class Head(nn.Module):
    """Latent to hidden layer to logits, around the linear prediction where there is one."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.levels = architecture.levels
        self.hidden = nn.Linear(architecture.width, architecture.hidden)
        self.dropout = nn.Dropout(architecture.head_dropout)
        self.output = nn.Linear(architecture.hidden, architecture.outputs)

    def forward(self, latent_D: Tensor, recent: Recent | None) -> Tensor:
        """Logits (..., Q) for latents (..., D), in float32 where autocast runs them in less."""
        if recent is None:
            return self._outputs(latent_D)
        output = self._outputs(latent_D + recent.summand)
        shift, stretch = output[..., self.levels], output[..., self.levels + 1]
        stretched = recent.scale * torch.exp(stretch)
        centre = recent.predicted + stretched * shift
        return output[..., : self.levels] + discretised_logistic(centre, stretched, self.levels)

    def _outputs(self, latent_D: Tensor) -> Tensor:
        output: Tensor = self.output(self.dropout(torch.relu_(self.hidden(latent_D))))
        return output.to(torch.promote_types(output.dtype, torch.float32))

    def start_silent(self) -> None:
        """Make the first output exactly zero, so that the linear start alone speaks."""
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
