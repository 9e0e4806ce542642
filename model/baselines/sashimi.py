"""SaShiMi: S4 layers at three rates, the slower ones conditioning the faster ones.

Goel et al. 2022, "It's Raw! Audio Generation with State-Space Models" (arXiv 2202.09729), in the
form whose trainable parameters are those of its table for YouTubeMix: a Linear after each S4 and no
gated unit, no blocks on the way down, and dt, B and P frozen. In shapes, D is the width at the rate
in question, M the conjugate pairs of a state, P the samples that a pool joins, and E the factor of
the width at a pool.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from model.baselines.shapes import SaShiMiArchitecture
from model.baselines.state_space import Recurrence, StateSpace

NORM_FLOOR = 1e-8
"""Least variance that a norm divides by: the authors have none, and a constant gives NaN."""


class ScalarNorm(nn.Module):
    """A layer norm over the channels with one scale and one shift for all of them.

    ``scale (x - mean + shift) / deviation``, with the population's standard deviation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed input (..., D)."""
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean + self.shift) * (self.scale * variance.clamp_min(NORM_FLOOR).rsqrt())


class Block(nn.Module):
    """An S4 and a feed-forward block, each with a norm before and a residual."""

    def __init__(self, width: int, state: int, hidden: int) -> None:
        super().__init__()
        self.space_norm = ScalarNorm()
        self.space = StateSpace(width, state)
        self.mix = nn.Linear(width, width)
        self.feed_norm = ScalarNorm()
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the block's output for whole sequences (B, T, D)."""
        read_BDT = self.space(self.space_norm(x_BTD).transpose(1, 2))
        return self._after(x_BTD, read_BDT.transpose(1, 2))

    def prime(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output for whole sequences (B, T, D), and the S4 state (B, D, M) after."""
        input_BDT = self.space_norm(x_BTD).transpose(1, 2)
        return self._after(x_BTD, self.space(input_BDT).transpose(1, 2)), self.space.last(input_BDT)

    def step(self, x_BD: Tensor, recurrence: Recurrence, space: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output at the next position (B, D), and the S4 state (B, D, M) afterwards."""
        read_BD, space = recurrence.step(space, self.space_norm(x_BD))
        return self._after(x_BD, read_BD), space

    def _after(self, x: Tensor, read: Tensor) -> Tensor:
        x = x + self.mix(functional.gelu(read))
        added: Tensor = x + self.feed(self.feed_norm(x))
        return added


class Blocks(nn.ModuleList):
    """The blocks of one rate, with a residual around all of them."""

    def __init__(self, layers: int, width: int, state: int, hidden: int) -> None:
        super().__init__(Block(width, state, hidden) for _ in range(layers))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the output for whole sequences (B, T, D)."""
        y_BTD = x_BTD
        for block in self:
            y_BTD = block(y_BTD)
        return x_BTD + y_BTD

    def start(self, batch: int) -> "BlocksState":
        """Return the state before the first position of B sequences."""
        recurrences = []
        for block in self:
            assert isinstance(block, Block)
            recurrences.append(block.space.recurrence())
        return BlocksState(recurrences, [recurrence.start(batch) for recurrence in recurrences])

    def prime(self, x_BTD: Tensor, state: "BlocksState") -> Tensor:
        """Return the output for whole sequences (B, T, D); ``state`` becomes that after them."""
        y_BTD = x_BTD
        for number, block in enumerate(self):
            assert isinstance(block, Block)
            y_BTD, state.spaces[number] = block.prime(y_BTD)
        return x_BTD + y_BTD

    def step(self, x_BD: Tensor, state: "BlocksState") -> Tensor:
        """Return the output at the next position (B, D); ``state`` is updated in place."""
        y_BD = x_BD
        for number, block in enumerate(self):
            assert isinstance(block, Block)
            y_BD, state.spaces[number] = block.step(
                y_BD, state.recurrences[number], state.spaces[number]
            )
        return x_BD + y_BD


@dataclass
class BlocksState:
    """The S4 state of each block, (B, D, M), and the recurrences that advance them."""

    recurrences: list[Recurrence]
    spaces: list[Tensor]


class DownPool(nn.Module):
    """Concatenate P positions into one of the next slower rate: (B, P T, D) to (B, T, E D)."""

    def __init__(self, pool: int, width: int, slower: int) -> None:
        super().__init__()
        self.pool = pool
        self.linear = weight_norm(nn.Linear(pool * width, slower))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the slower sequence."""
        slower: Tensor = self.linear(x_BTD.unflatten(1, (-1, self.pool)).flatten(2))
        return slower


class UpPool(nn.Module):
    """Expand a position of the slower rate into P of the faster one: (B, T, E D) to (B, P T, D).

    They are the P positions after those that the slower position has read, so that the model is
    causal; the first P are zero.
    """

    def __init__(self, pool: int, width: int, slower: int) -> None:
        super().__init__()
        self.pool = pool
        self.linear = weight_norm(nn.Linear(slower, pool * width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the faster sequence."""
        return functional.pad(self.spread(x_BTD[:, :-1]).flatten(1, 2), (0, 0, self.pool, 0))

    def spread(self, x: Tensor) -> Tensor:
        """Return the P faster positions (..., P, D) after slower positions (..., E D)."""
        spread: Tensor = self.linear(x).unflatten(-1, (self.pool, -1))
        return spread


@dataclass
class SaShiMiState:
    """State of B sequences between two steps, of constant size.

    clock: samples read so far.
    rates: the states of the blocks, from the rate of the samples down.
    gathered: for each pool, the positions (B, P, D) that wait to be joined.
    spread: for each pool, the slower rate's output for the current P positions (B, P, D).
    """

    clock: int
    rates: list[BlocksState]
    gathered: list[Tensor]
    spread: list[Tensor]


class SaShiMi(nn.Module):
    """The logits of each code from the codes before it, in parallel or sample by sample."""

    def __init__(self, architecture: SaShiMiArchitecture) -> None:
        super().__init__()
        if problems := architecture.problems():
            raise ValueError("\n".join(problems))
        a = self.architecture = architecture
        self.embedding = nn.Embedding(a.levels, a.width)
        pools = list(zip(a.pools, a.widths[:-1], a.widths[1:], strict=True))
        self.down = nn.ModuleList(DownPool(*sizes) for sizes in pools)
        self.blocks = nn.ModuleList(
            Blocks(a.layers, width, a.state, a.feed_forward_expand * width) for width in a.widths
        )
        self.up = nn.ModuleList(UpPool(*sizes) for sizes in pools)
        self.norm = nn.LayerNorm(a.width)
        self.head = nn.Linear(a.width, a.levels)

    def forward(self, codes_BT: Tensor) -> Tensor:
        """Return logits (B, T, Q): at t those of code t, from the codes (B, T) before it alone."""
        samples = codes_BT.shape[1]
        # Padding at the end to whole strides has no effect, because the model is causal.
        fill = -samples % self.architecture.stride
        inputs_BT = functional.pad(
            codes_BT[:, :-1].long(), (1, fill), value=self.architecture.start_code
        )
        x_BTD = self._read_rates(self.embedding(inputs_BT))
        logits: Tensor = self.head(self.norm(x_BTD[:, :samples]))
        return logits

    @torch.no_grad()
    def start(self, batch: int) -> SaShiMiState:
        """Return the state of B sequences before their first code, for the current weights."""
        a = self.architecture
        rates = []
        for blocks in self.blocks:
            assert isinstance(blocks, Blocks)
            rates.append(blocks.start(batch))
        gathered, spread = (
            [
                self.head.weight.new_zeros(batch, pool, width)
                for pool, width in zip(a.pools, a.widths[:-1], strict=True)
            ]
            for _ in range(2)
        )
        return SaShiMiState(0, rates, gathered, spread)

    @torch.no_grad()
    def prime(self, codes_BT: Tensor) -> tuple[Tensor, SaShiMiState]:
        """Return logits (B, Q) of the code after a sequence (B, T), and the state afterwards.

        Whole positions of the slowest rate are read in parallel, the rest step by step.
        """
        fed_BT = functional.pad(codes_BT.long(), (1, 0), value=self.architecture.start_code)
        state = self.start(len(codes_BT))
        whole = fed_BT.shape[1] // self.architecture.stride * self.architecture.stride
        if whole:
            x_BTD = self._read_rates(self.embedding(fed_BT[:, :whole]), state)
            logits_BQ: Tensor = self.head(self.norm(x_BTD[:, -1]))
            state.clock = whole
        for codes_B in fed_BT[:, whole:].T:
            logits_BQ, state = self.step(state, codes_B)
        return logits_BQ, state

    def _read_rates(self, x_BTD: Tensor, state: SaShiMiState | None = None) -> Tensor:
        """Return the output (B, T, D) for whole strides; ``state`` becomes the state after them."""
        skipped = []
        for pool in self.down:
            skipped.append(x_BTD)
            x_BTD = pool(x_BTD)
        for rate, blocks in reversed(list(enumerate(self.blocks))):
            assert isinstance(blocks, Blocks)
            if rate < len(skipped):
                up = self.up[rate]
                assert isinstance(up, UpPool)
                if state is not None:
                    state.spread[rate] = up.spread(x_BTD[:, -1])
                x_BTD = up(x_BTD) + skipped[rate]
            x_BTD = blocks(x_BTD) if state is None else blocks.prime(x_BTD, state.rates[rate])
        return x_BTD

    @torch.no_grad()
    def step(self, state: SaShiMiState, codes_B: Tensor) -> tuple[Tensor, SaShiMiState]:
        """Return logits (B, Q) of the code after the codes (B,), and the state, updated in place.

        If the first codes are the start code, the logits equal those of :meth:`forward`. A slower
        rate advances only after the last of its samples.
        """
        x_BD = self._advance(0, self.embedding(codes_B.long()), state)
        state.clock += 1
        return self.head(self.norm(x_BD)), state

    def _advance(self, rate: int, x_BD: Tensor, state: SaShiMiState) -> Tensor:
        """Return a rate's output at its next position (B, D)."""
        blocks = self.blocks[rate]
        assert isinstance(blocks, Blocks)
        if rate == len(self.down):
            return blocks.step(x_BD, state.rates[rate])
        pools = self.architecture.pools
        place = state.clock // prod(pools[:rate]) % pools[rate]
        gathered_BPD = state.gathered[rate]
        gathered_BPD[:, place] = x_BD
        y_BD = blocks.step(x_BD + state.spread[rate][:, place], state.rates[rate])
        if place == pools[rate] - 1:
            slower_BD = self._advance(rate + 1, self.down[rate](gathered_BPD)[:, 0], state)
            up = self.up[rate]
            assert isinstance(up, UpPool)
            state.spread[rate] = up.spread(slower_BD)
        return y_BD
