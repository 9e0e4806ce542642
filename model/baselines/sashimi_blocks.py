"""The blocks of SaShiMi at one of its rates (Goel et al. 2022, arXiv 2202.09729).

In shapes, D is the width at that rate, and M the conjugate pairs of a state.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.baselines.state_space import Recurrence, StateSpace

NORM_FLOOR = 1e-8
"""The least variance that a norm divides by: the authors' norm has none, and a constant is NaN."""


class ScalarNorm(nn.Module):
    """A layer norm over the channels with one scale and one shift for all of them.

    ``scale (x - mean + shift) / deviation``, with the deviation of the population.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Normed (..., D)."""
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean + self.shift) * (self.scale * variance.clamp_min(NORM_FLOOR).rsqrt())


class Block(nn.Module):
    """An S4 and a feed-forward block, each normed before and added to what it reads."""

    def __init__(self, width: int, state: int, hidden: int) -> None:
        super().__init__()
        self.space_norm = ScalarNorm()
        self.space = StateSpace(width, state)
        self.mix = nn.Linear(width, width)
        self.feed_norm = ScalarNorm()
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The block over whole sequences (B, T, D)."""
        read_BDT = self.space(self.space_norm(x_BTD).transpose(1, 2))
        return self._after(x_BTD, read_BDT.transpose(1, 2))

    def prime(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """The block over whole sequences (B, T, D), and its state space (B, D, M) after them."""
        input_BDT = self.space_norm(x_BTD).transpose(1, 2)
        return self._after(x_BTD, self.space(input_BDT).transpose(1, 2)), self.space.last(input_BDT)

    def step(self, x_BD: Tensor, recurrence: Recurrence, space: Tensor) -> tuple[Tensor, Tensor]:
        """The block at the next position (B, D), and its state space (B, D, M) after it."""
        read_BD, space = recurrence.step(space, self.space_norm(x_BD))
        return self._after(x_BD, read_BD), space

    def _after(self, x: Tensor, read: Tensor) -> Tensor:
        x = x + self.mix(functional.gelu(read))
        added: Tensor = x + self.feed(self.feed_norm(x))
        return added


class Blocks(nn.ModuleList):
    """The blocks of one rate; what they read is added to what they give once more."""

    def __init__(self, layers: int, width: int, state: int, hidden: int) -> None:
        super().__init__(Block(width, state, hidden) for _ in range(layers))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """All blocks over whole sequences (B, T, D)."""
        y_BTD = x_BTD
        for block in self:
            y_BTD = block(y_BTD)
        return x_BTD + y_BTD

    def start(self, batch: int) -> "BlocksState":
        """The state before the first position of B sequences."""
        recurrences = []
        for block in self:
            assert isinstance(block, Block)
            recurrences.append(block.space.recurrence())
        return BlocksState(recurrences, [recurrence.start(batch) for recurrence in recurrences])

    def prime(self, x_BTD: Tensor, state: "BlocksState") -> Tensor:
        """All blocks over whole sequences (B, T, D); the state becomes that after them."""
        y_BTD = x_BTD
        for number, block in enumerate(self):
            assert isinstance(block, Block)
            y_BTD, state.spaces[number] = block.prime(y_BTD)
        return x_BTD + y_BTD

    def step(self, x_BD: Tensor, state: "BlocksState") -> Tensor:
        """All blocks at the next position (B, D); the state moves on in place."""
        y_BD = x_BD
        for number, block in enumerate(self):
            assert isinstance(block, Block)
            y_BD, state.spaces[number] = block.step(
                y_BD, state.recurrences[number], state.spaces[number]
            )
        return x_BD + y_BD


@dataclass
class BlocksState:
    """The state of each block, (B, D, M), and the recurrences that move them on."""

    recurrences: list[Recurrence]
    spaces: list[Tensor]
