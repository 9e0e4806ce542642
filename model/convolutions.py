"""Strided convolutions over a run of positions, flattened and projected: once, or at all offsets.

There is no padding: a remainder of the strides falls on the oldest end of the run, so that the
newest position is always read. The outputs at all offsets of a signal are convolutions of stride 1,
dilated by the product of the strides before them ("a trous": Holschneider et al. 1989; van den Oord
et al. 2016, arXiv 1609.03499, section 2.1).
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import mul

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.activations import CACHED_RUNS
from model.architecture import convolved_lengths


class Convolutions(nn.Module):
    """Convolutions with ReLU over runs of ``length`` positions, projected to ``width``.

    ``channels`` (one more than ``strides``) are those of the input and of each convolution.
    """

    def __init__(
        self,
        channels: Sequence[int],
        kernel: int,
        strides: Sequence[int],
        length: int,
        width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.length = length
        self.cached_runs: int | None = CACHED_RUNS
        self.kernel = kernel
        self.strides = tuple(strides)
        self.layers = nn.ModuleList(
            nn.Conv1d(before, after, kernel, stride)
            for (before, after), stride in zip(pairwise(channels), strides, strict=True)
        )
        self.last_length = convolved_lengths(length, kernel, strides)[-1]
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(channels[-1] * self.last_length, width)

    def convolutions(self) -> list[nn.Conv1d]:
        """Return the convolutions, from the input on."""
        return [layer for layer in self.layers if isinstance(layer, nn.Conv1d)]

    @property
    def dilations(self) -> tuple[int, ...]:
        """Distance between the taps of each convolution, and of the projection, in positions."""
        return (1, *accumulate(self.strides, mul))

    def forward(self, runs_BFT: Tensor) -> Tensor:
        """Return projections (B, D) of runs (B, F, length)."""
        if self.cached_runs is None or runs_BFT.device.type != "cpu":
            return self._strided(runs_BFT)
        return torch.cat([self._strided(part) for part in runs_BFT.split(self.cached_runs)])

    def _strided(self, x_BFT: Tensor) -> Tensor:
        for layer in self.convolutions():
            left_over = (x_BFT.shape[-1] - layer.kernel_size[0]) % layer.stride[0]
            x_BFT = self._activated(layer(x_BFT[..., left_over:]))
        projected: Tensor = self.projection(x_BFT.flatten(1))
        return projected

    def dense(self, signal_BFT: Tensor) -> Tensor:
        """Return projections (B, T - length + 1, D) of a signal's runs at every offset."""
        x_BFT = signal_BFT[..., self._unseen :]
        *dilations, last = self.dilations
        for layer, dilation in zip(self.convolutions(), dilations, strict=True):
            convolved_BFT = functional.conv1d(x_BFT, layer.weight, layer.bias, dilation=dilation)
            x_BFT = self._activated(convolved_BFT)
        weight_DFT = self.projection.weight.unflatten(1, (-1, self.last_length))
        projected = functional.conv1d(x_BFT, weight_DFT, self.projection.bias, dilation=last)
        return projected.transpose(1, 2)

    def _activated(self, x_BFT: Tensor) -> Tensor:
        # Dropout before ReLU gives the same numbers as after it, and autograd keeps one tensor
        # less: ReLU works in place.
        return torch.relu_(self.dropout(x_BFT))

    @property
    def _unseen(self) -> int:
        """Oldest positions of a run that the strides skip."""
        *dilations, last = self.dilations
        seen = sum((self.kernel - 1) * dilation for dilation in dilations)
        return self.length - 1 - seen - (self.last_length - 1) * last
