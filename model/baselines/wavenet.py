"""WaveNet: dilated causal convolutions with gates, each told to the end by a skip connection.

Van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio" (arXiv 1609.03499), in the
sizes that Goel et al. 2022 (arXiv 2202.09729) compare with: a learned embedding in the place of
one-hot codes, convolutions without bias but for the last two, and a Linear behind the logits. In
shapes, F counts whatever channels a tensor has, and a 1 in the place of T is a single position.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class WaveNetArchitecture:
    """Every number of WaveNet; the defaults are the model of 4.24 M parameters.

    blocks: times that the dilations start again from 1.
    layers: layers of a block, of dilations 1, 2, 4, ...
    embedding: width of a code's embedding.
    residual: channels that the layers read and add to.
    gate: channels of the gated convolution.
    skip: channels of the sum of what the layers tell the end; 512 is the model of 2.67 M.
    end: channels between the last two convolutions.
    levels: classes of the quantiser (Q).

    A slim twin: ``embedding=32, residual=24, gate=24, skip=96, end=64`` has 304,960 parameters.
    """

    blocks: int = 4
    layers: int = 10
    embedding: int = 256
    residual: int = 64
    gate: int = 64
    skip: int = 1024
    end: int = 512
    levels: int = 256

    @property
    def dilations(self) -> tuple[int, ...]:
        """Samples between the two taps of each layer."""
        return tuple(2**layer for layer in range(self.layers)) * self.blocks

    def problems(self) -> list[str]:
        """Every sentence that says why this architecture cannot be built; empty if it can."""
        return [
            f"model.{field.name} is {value}: it must be 1 or more"
            for field in fields(self)
            if (value := getattr(self, field.name)) < 1
        ]

    def parameters(self) -> dict[str, int]:
        """Trainable parameters of each part of the model."""
        layer = 4 * self.residual * self.gate + self.gate * (self.residual + self.skip)
        return {
            "embedding": self.levels * self.embedding,
            "entry": self.embedding * self.residual,
            "layers": len(self.dilations) * layer,
            "end": (self.skip + 1) * self.end + (self.end + 1) * self.levels,
            "head": (self.levels + 1) * self.levels,
        }

    def operations(self, samples: int) -> float:
        """Forward operations (2 a multiply-add) for one sequence of so many samples."""
        layer = 4 * self.residual * self.gate + self.gate * (self.residual + self.skip)
        products = (
            self.embedding * self.residual
            + len(self.dilations) * layer
            + self.skip * self.end + self.end * self.levels + self.levels**2
        )  # fmt: skip
        return 2.0 * samples * products


class Layer(nn.Module):
    """A gated convolution of two taps, and what it tells the next layer and the end."""

    def __init__(self, residual: int, gate: int, skip: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        # The filter of the tanh and that of the sigmoid, one above the other.
        self.gates = nn.Conv1d(residual, 2 * gate, 2, dilation=dilation, bias=False)
        self.residual = nn.Conv1d(gate, residual, 1, bias=False)
        self.skip = nn.Conv1d(gate, skip, 1, bias=False)

    def forward(self, x_BFT: Tensor) -> Tensor:
        """The gated channels (B, F, T) for whole sequences of which the first input is silence."""
        # Silence without a beginning is one column, repeated.
        silence = x_BFT[..., :1].expand(-1, -1, self.dilation)
        return _gated(self.gates(torch.cat([silence, x_BFT], 2)))

    def step(self, x_BF1: Tensor, before_BF1: Tensor) -> Tensor:
        """The gated channels (B, F, 1) for an input and the one a dilation before it."""
        taps = torch.cat([before_BF1, x_BF1], 2)
        return _gated(functional.conv1d(taps, self.gates.weight))

    def tell(self, gated_BFT: Tensor, x_BFT: Tensor, skipped_BFT: Tensor) -> Tensor:
        """What the next layer reads (B, F, T); ``skipped_BFT`` grows in place."""
        # In place, since only the sum over all layers is of use.
        skipped_BFT += self.skip(gated_BFT)
        told: Tensor = x_BFT + self.residual(gated_BFT)
        return told


def _gated(convolved_BFT: Tensor) -> Tensor:
    """``tanh(a) sigmoid(b)`` of two halves of the channels (WaveNet, equation 2)."""
    filtered, gate = convolved_BFT.chunk(2, 1)
    return filtered.tanh() * gate.sigmoid()


@dataclass
class WaveNetState:
    """All that the past of B sequences leaves behind: the newest inputs of each layer.

    clock: samples fed so far.
    rings: for each layer its inputs (B, F, dilation), that of position t in slot t mod dilation
        (the queues of Le Paine et al. 2016, arXiv 1611.09482).
    """

    clock: int
    rings: list[Tensor]


class WaveNet(nn.Module):
    """Codes to the logits of each from those before it, in parallel or sample by sample.

    The residual convolution of the last layer is among the published parameters, but nothing reads
    what it gives: it has no gradient.
    """

    def __init__(self, architecture: WaveNetArchitecture) -> None:
        super().__init__()
        if problems := architecture.problems():
            raise ValueError("\n".join(problems))
        a = self.architecture = architecture
        self.embedding = nn.Embedding(a.levels, a.embedding)
        self.entry = nn.Linear(a.embedding, a.residual, bias=False)
        self.layers = nn.ModuleList(
            Layer(a.residual, a.gate, a.skip, dilation) for dilation in a.dilations
        )
        self.end = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv1d(a.skip, a.end, 1),
            nn.ReLU(inplace=True),
            nn.Conv1d(a.end, a.levels, 1),
        )
        self.head = nn.Linear(a.levels, a.levels)

    @property
    def receptive_field(self) -> int | None:
        """Samples before a target that its logits depend on: the newest, and every dilation."""
        return 1 + sum(self.architecture.dilations)

    @property
    def start_code(self) -> int:
        """The code before the first one: silence."""
        return self.architecture.levels // 2

    def forward(self, codes_BT: Tensor) -> Tensor:
        """Logits (B, T, Q): at t those of the code t, from the codes (B, T) before it alone."""
        known = functional.pad(codes_BT[:, :-1].long(), (1, 0), value=self.start_code)
        x_BFT = self._entered(known)
        skipped_BFT = self._nothing(x_BFT)
        for layer in self._layers():
            x_BFT = layer.tell(layer(x_BFT), x_BFT, skipped_BFT)
        return self._logits(skipped_BFT)

    @torch.no_grad()
    def start(self, batch: int) -> WaveNetState:
        """The state of B sequences that were silent for ever, for the weights as they are now."""
        silence = torch.full((batch, 1), self.start_code, device=self.head.weight.device)
        x_BF1 = self._entered(silence)
        skipped_BF1 = self._nothing(x_BF1)
        rings = []
        for layer in self._layers():
            rings.append(x_BF1.repeat(1, 1, layer.dilation))
            x_BF1 = layer.tell(layer.step(x_BF1, x_BF1), x_BF1, skipped_BF1)
        return WaveNetState(0, rings)

    @torch.no_grad()
    def step(self, state: WaveNetState, codes_B: Tensor) -> tuple[Tensor, WaveNetState]:
        """Logits (B, Q) of what follows the codes (B,), and the state, moved on in place.

        The first codes are :attr:`start_code`; the logits are then those that :meth:`forward` gives
        for the same sequence.
        """
        x_BF1 = self._entered(codes_B[:, None].long())
        skipped_BF1 = self._nothing(x_BF1)
        for layer, ring in zip(self._layers(), state.rings, strict=True):
            slot = state.clock % layer.dilation
            oldest_BF1 = ring[..., slot : slot + 1]
            gated_BF1 = layer.step(x_BF1, oldest_BF1)
            oldest_BF1.copy_(x_BF1)
            x_BF1 = layer.tell(gated_BF1, x_BF1, skipped_BF1)
        state.clock += 1
        return self._logits(skipped_BF1)[:, 0], state

    def _layers(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def _entered(self, codes_BT: Tensor) -> Tensor:
        """What the first layer reads (B, F, T)."""
        # Autocast takes products in less, but sums over all layers stay as exact as the weights.
        entered: Tensor = self.entry(self.embedding(codes_BT)).to(self.embedding.weight.dtype)
        return entered.transpose(1, 2)

    def _nothing(self, x_BFT: Tensor) -> Tensor:
        """The sum of what no layer tells the end (B, F, T)."""
        return x_BFT.new_zeros(len(x_BFT), self.architecture.skip, x_BFT.shape[2])

    def _logits(self, skipped_BFT: Tensor) -> Tensor:
        logits: Tensor = self.head(self.end(skipped_BFT).transpose(1, 2))
        return logits
