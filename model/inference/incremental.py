"""Convolutions one position at a time: what a new position changes, and nothing else.

Each layer keeps its newest inputs in a ring; a new position adds one column to each, as in the
queues of fast WaveNet generation (Le Paine et al. 2016, arXiv 1611.09482).
"""

import torch
from torch import Tensor
from torch.nn import functional

from model.convolutions import Convolutions


class IncrementalConvolutions:
    """The outputs of :meth:`Convolutions.dense` for B signals that grow by one position a step.

    An output is right once ``length`` positions were pushed.
    """

    def __init__(self, stack: Convolutions, batch: int) -> None:
        kernels = [layer.weight for layer in stack.convolutions()]
        kernels.append(stack.projection.weight.unflatten(1, (-1, stack.last_length)))
        self.biases: list[Tensor | None] = [layer.bias for layer in stack.convolutions()]
        self.biases.append(stack.projection.bias)
        # A row holds all taps of an output in the order in which a step gathers them.
        self.weights = [kernel.transpose(1, 2).flatten(1).contiguous() for kernel in kernels]
        self.taps = [kernel.shape[2] for kernel in kernels]
        reaches = list(zip(self.taps, stack.dilations, strict=True))
        lengths = [(taps - 1) * dilation + 1 for taps, dilation in reaches]
        self.rings = [
            kernel.new_zeros(length, batch, kernel.shape[1])
            for length, kernel in zip(lengths, kernels, strict=True)
        ]
        lags = [torch.arange(taps - 1, -1, -1) * dilation for taps, dilation in reaches]
        device = self.weights[0].device
        self.lags = torch.cat(lags).to(device)
        self.lengths = torch.tensor(lengths).repeat_interleave(torch.tensor(self.taps)).to(device)

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes in place."""
        return self.rings

    def push(self, column_BF: Tensor, clock: Tensor) -> Tensor:
        """The newest output (B, D) after the position ``clock`` (int64, ()) of the signals."""
        slots = ((clock - self.lags) % self.lengths).split(self.taps)
        final = len(self.rings) - 1
        for number, ring in enumerate(self.rings):
            ring.index_copy_(0, slots[number][-1:], column_BF[None])
            seen = ring.index_select(0, slots[number])
            column_BF = functional.linear(
                seen.transpose(0, 1).reshape(len(column_BF), -1),
                self.weights[number],
                self.biases[number],
            )
            if number < final:
                column_BF = column_BF.relu_()
        return column_BF
