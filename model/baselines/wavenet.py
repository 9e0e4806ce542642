"""WaveNet: gated dilated causal convolutions, with a skip connection from each to the output.

Van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio" (arXiv 1609.03499), in the
sizes of the comparison of Goel et al. 2022 (arXiv 2202.09729). It has a learned embedding instead
of one-hot codes, convolutions without bias except the last two, and a Linear after the logits. In
shapes, F is any number of channels, and 1 in the place of T is a single position.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.baselines.shapes import WaveNetArchitecture


class Layer(nn.Module):
    """A gated convolution of two taps, added to its input."""

    def __init__(self, residual: int, gate: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        # The filters of the tanh and of the sigmoid, stacked.
        self.gates = nn.Conv1d(residual, 2 * gate, 2, dilation=dilation, bias=False)
        self.residual = nn.Conv1d(gate, residual, 1, bias=False)

    def forward(self, x_BFT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next input and gated channels (B, F, T) after endless silence."""
        silence = x_BFT[..., :1].expand(-1, -1, self.dilation)
        return self._after(x_BFT, self.gates(torch.cat([silence, x_BFT], 2)))

    def step(self, x_BF1: Tensor, ring_BFT: Tensor, clock: int) -> tuple[Tensor, Tensor]:
        """Return :meth:`forward` at the next position (B, F, 1), which replaces the oldest."""
        slot = clock % self.dilation
        oldest_BF1 = ring_BFT[..., slot : slot + 1]
        taps = torch.cat([oldest_BF1, x_BF1], 2)
        oldest_BF1.copy_(x_BF1)
        return self._after(x_BF1, functional.conv1d(taps, self.gates.weight))

    def ring(self, x_BFT: Tensor) -> Tensor:
        """Return the ring (B, F, dilation) after a whole sequence of inputs (B, F, T)."""
        silence = x_BFT[..., :1].expand(-1, -1, self.dilation)
        newest = torch.cat([silence, x_BFT], 2)[..., -self.dilation :]
        return newest.roll(x_BFT.shape[2] % self.dilation, 2)

    def _after(self, x_BFT: Tensor, convolved_BFT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the residual sum, and ``tanh(a) sigmoid(b)`` of two halves (WaveNet, eq. 2)."""
        filtered, gate = convolved_BFT.chunk(2, 1)
        gated_BFT = filtered.tanh() * gate.sigmoid()
        return x_BFT + self.residual(gated_BFT), gated_BFT


class Block(nn.Module):
    """Layers of dilations 1, 2, 4, ..., and the skip connections of all of them.

    The skip connections are one convolution of all gated channels. For 16,384 samples at the
    default sizes it took 0.30 s on a CPU core; one convolution a layer, summed, took 0.69 s.
    """

    def __init__(self, layers: int, residual: int, gate: int, skip: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(residual, gate, 2**layer) for layer in range(layers))
        self.skip = nn.Conv1d(layers * gate, skip, 1, bias=False)
        # Initialised like one convolution for each layer.
        nn.init.uniform_(self.skip.weight, -(gate**-0.5), gate**-0.5)

    def dilated(self) -> list[Layer]:
        """Return the layers in order."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def forward(self, x_BFT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next block's input and the skip output of whole sequences (B, F, T)."""
        gated = []
        for layer in self.dilated():
            x_BFT, gated_BFT = layer(x_BFT)
            gated.append(gated_BFT)
        return x_BFT, self.skip(torch.cat(gated, 1))

    def start(self, x_BF1: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the next block's input for silence (B, F, 1), and the rings full of silence."""
        rings = []
        for layer in self.dilated():
            rings.append(x_BF1.repeat(1, 1, layer.dilation))
            x_BF1, _ = layer(x_BF1)
        return x_BF1, rings

    def prime(self, x_BFT: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return :meth:`forward` with the newest skip output alone, and the rings afterwards."""
        gated, rings = [], []
        for layer in self.dilated():
            rings.append(layer.ring(x_BFT))
            x_BFT, gated_BFT = layer(x_BFT)
            gated.append(gated_BFT[..., -1:])
        return x_BFT, self.skip(torch.cat(gated, 1)), rings

    def step(self, x_BF1: Tensor, rings: list[Tensor], clock: int) -> tuple[Tensor, Tensor]:
        """Return the next block's input and the skip output at the next position (B, F, 1)."""
        gated = []
        for layer, ring_BFT in zip(self.dilated(), rings, strict=True):
            x_BF1, gated_BF1 = layer.step(x_BF1, ring_BFT, clock)
            gated.append(gated_BF1)
        return x_BF1, self.skip(torch.cat(gated, 1))


@dataclass
class WaveNetState:
    """State of B sequences between two steps: the newest inputs of each layer.

    clock: samples read so far.
    rings: for each layer of each block its inputs (B, F, dilation), the input at position t in slot
        t mod dilation (the queues of Le Paine et al. 2016, arXiv 1611.09482).
    """

    clock: int
    rings: list[list[Tensor]]


class WaveNet(nn.Module):
    """The logits of each code from the codes before it, in parallel or sample by sample.

    The residual convolution of the last layer is among the published parameters, but its output is
    unused: it has no gradient.
    """

    def __init__(self, architecture: WaveNetArchitecture) -> None:
        super().__init__()
        if problems := architecture.problems():
            raise ValueError("\n".join(problems))
        a = self.architecture = architecture
        self.embedding = nn.Embedding(a.levels, a.embedding)
        self.entry = nn.Linear(a.embedding, a.residual, bias=False)
        self.blocks = nn.ModuleList(
            Block(a.layers, a.residual, a.gate, a.skip) for _ in range(a.blocks)
        )
        self.end = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv1d(a.skip, a.end, 1),
            nn.ReLU(inplace=True),
            nn.Conv1d(a.end, a.levels, 1),
        )
        self.head = nn.Linear(a.levels, a.levels)

    def forward(self, codes_BT: Tensor) -> Tensor:
        """Return logits (B, T, Q): at t those of code t, from the codes (B, T) before it alone."""
        inputs_BT = functional.pad(
            codes_BT[:, :-1].long(), (1, 0), value=self.architecture.start_code
        )
        x_BFT = self._layer_input(inputs_BT)
        skipped_BFT = self._zero_skips(x_BFT)
        for block in self._blocks():
            x_BFT, block_skip_BFT = block(x_BFT)
            # In place, since only the sum is used.
            skipped_BFT += block_skip_BFT
        return self._logits(skipped_BFT)

    @torch.no_grad()
    def start(self, batch: int) -> WaveNetState:
        """Return the state of B endlessly silent sequences, for the current weights."""
        silence = torch.full(
            (batch, 1), self.architecture.start_code, device=self.head.weight.device
        )
        x_BF1 = self._layer_input(silence)
        state = WaveNetState(0, [])
        for block in self._blocks():
            x_BF1, rings = block.start(x_BF1)
            state.rings.append(rings)
        return state

    @torch.no_grad()
    def prime(self, codes_BT: Tensor) -> tuple[Tensor, WaveNetState]:
        """Return logits (B, Q) of the code after a sequence (B, T), and the state, in parallel."""
        inputs_BT = functional.pad(codes_BT.long(), (1, 0), value=self.architecture.start_code)
        x_BFT = self._layer_input(inputs_BT)
        state = WaveNetState(inputs_BT.shape[1], [])
        skipped_BF1 = self._zero_skips(x_BFT[..., -1:])
        for block in self._blocks():
            x_BFT, block_skip_BF1, rings = block.prime(x_BFT)
            state.rings.append(rings)
            skipped_BF1 += block_skip_BF1
        return self._logits(skipped_BF1)[:, 0], state

    @torch.no_grad()
    def step(self, state: WaveNetState, codes_B: Tensor) -> tuple[Tensor, WaveNetState]:
        """Return logits (B, Q) of the code after the codes (B,), and the state, updated in place.

        If the first codes are the start code, the logits equal those of :meth:`forward`.
        """
        x_BF1 = self._layer_input(codes_B[:, None].long())
        skipped_BF1 = self._zero_skips(x_BF1)
        for block, rings in zip(self._blocks(), state.rings, strict=True):
            x_BF1, block_skip_BF1 = block.step(x_BF1, rings, state.clock)
            skipped_BF1 += block_skip_BF1
        state.clock += 1
        return self._logits(skipped_BF1)[:, 0], state

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _layer_input(self, codes_BT: Tensor) -> Tensor:
        """Return the first layer's input (B, F, T) of codes (B, T)."""
        # Autocast shortens products, but sums over all layers keep the precision of the weights.
        entered: Tensor = self.entry(self.embedding(codes_BT)).to(self.embedding.weight.dtype)
        return entered.transpose(1, 2)

    def _zero_skips(self, x_BFT: Tensor) -> Tensor:
        return x_BFT.new_zeros(len(x_BFT), self.architecture.skip, x_BFT.shape[2])

    def _logits(self, skipped_BFT: Tensor) -> Tensor:
        logits: Tensor = self.head(self.end(skipped_BFT).transpose(1, 2))
        return logits
