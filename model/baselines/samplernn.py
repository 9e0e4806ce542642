"""SampleRNN: recurrent networks over frames, the longer conditioning the shorter, then samples.

Mehri et al. 2017, "SampleRNN: An Unconditional End-to-End Neural Audio Generation Model" (arXiv
1612.07837), in the three-tier form of the comparison of Goel et al. 2022 (arXiv 2202.09729). A tier
reads one frame a step and conditions the samples of the next frame. In shapes, D is the width, P
the samples of a tier's frame, N frames and E the width of a code's embedding.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional, init
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from model.baselines.shapes import SampleRNNArchitecture


def doubled_amplitudes(levels: int, codec: str) -> Tensor:
    """Return what frames contain for each code q (Q,): twice its amplitude ``a = 2 q / Q - 1``.

    For mu-law it is expanded, ``sign(a) ((1 + mu)^|a| - 1) / mu`` with ``mu = Q - 1`` (ITU-T G.711,
    as in ``mu_law_decode`` of state-spaces S4, ``src/dataloaders/audio.py``). Silence, Q / 2, is 0.
    """
    amplitudes_Q = torch.arange(levels, dtype=torch.float64) * (2 / levels) - 1
    if codec == "mulaw":
        mu = levels - 1
        amplitudes_Q = amplitudes_Q.sign() * ((1 + mu) ** amplitudes_Q.abs() - 1) / mu
    return (2 * amplitudes_Q).to(torch.get_default_dtype())


class Tier(nn.Module):
    """A recurrent network over frames of P samples, with k outputs a frame for the tier below.

    Initialised as in the deepsound-project's samplernn-pytorch: the gates' weights by LeCun's rule,
    and those from the hidden state to the candidate orthogonal.
    """

    def __init__(self, frame: int, size: int, width: int) -> None:
        super().__init__()
        self.frame = frame
        self.size = size
        self.expand = _weight_normed(nn.Linear(frame, width))
        self.gates = nn.GRU(width, width, batch_first=True)
        self.first = nn.Parameter(torch.zeros(width))
        # One gain a column: the published layer is a transposed convolution with weight norm over
        # its inputs.
        self.spread = _weight_normed(nn.Linear(width, size * width), dim=1)
        for name, weight in self.gates.named_parameters():
            if name.startswith("bias"):
                init.zeros_(weight)
            else:
                init.kaiming_uniform_(weight, nonlinearity="linear")
            if name == "weight_hh_l0":
                init.orthogonal_(weight.detach()[2 * width :])

    def forward(
        self, frames_BNP: Tensor, above_BND: Tensor | None, hidden_BD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the conditioning (B, k N, D) of the tier below, and the hidden state (B, D) after.

        ``frames_BNP`` are amplitudes, ``above_BND`` the conditioning by the tier above, if any.
        """
        x_BND = self.expand(frames_BNP)
        if above_BND is not None:
            x_BND = x_BND + above_BND
        y_BND, hidden_1BD = self.gates(x_BND, hidden_BD[None])
        return self.spread(y_BND).unflatten(2, (self.size, -1)).flatten(1, 2), hidden_1BD[0]


@dataclass
class SampleRNNPast:
    """Recurrent state carried between two pieces of B sequences.

    hiddens: the hidden state (B, D) of each tier, from the shortest frames up.
    recent: the codes (B, lookback) before the next piece.
    """

    hiddens: list[Tensor]
    recent: Tensor

    def detached(self) -> "SampleRNNPast":
        """Return the same state without gradients, for truncated backpropagation."""
        return SampleRNNPast([hidden_BD.detach() for hidden_BD in self.hiddens], self.recent)


@dataclass
class SampleRNNState:
    """State of B sequences between two calls of :meth:`SampleRNN.step`.

    clock: samples read so far.
    past: the hidden states after the last frame of each tier, and the newest codes.
    conditioning: each tier's output (B, k, D) for its last frame.
    """

    clock: int
    past: SampleRNNPast
    conditioning: list[Tensor]


class SampleRNN(nn.Module):
    """The logits of each code from the codes before it, in parallel or sample by sample."""

    amplitudes: Tensor

    def __init__(self, architecture: SampleRNNArchitecture) -> None:
        super().__init__()
        if problems := architecture.problems():
            raise ValueError("\n".join(problems))
        a = self.architecture = architecture
        amplitudes_Q = doubled_amplitudes(a.levels, a.codec)
        self.register_buffer("amplitudes", amplitudes_Q, persistent=False)
        self.tiers = nn.ModuleList(
            Tier(frame, size, a.width) for frame, size in zip(a.frames, a.frame_sizes, strict=True)
        )
        self.embedding = nn.Embedding(a.levels, a.embedding)
        self.read = _weight_normed(nn.Conv1d(a.embedding, a.width, a.frames[0], bias=False))
        self.hidden = _weight_normed(nn.Linear(a.width, a.width))
        self.head = _weight_normed(nn.Linear(a.width, a.levels), "linear")

    def forward(self, codes_BT: Tensor) -> Tensor:
        """Return logits (B, T, Q): at t those of code t, from the codes (B, T) before it alone.

        Gradients are truncated every ``truncation`` samples; the hidden state is carried on.
        """
        samples = codes_BT.shape[1]
        # Padding at the end to whole frames has no effect, because the model is causal.
        fill = -samples % self.architecture.lookback
        filled = functional.pad(codes_BT.long(), (0, fill), value=self.architecture.start_code)
        past = self.initial_past(len(codes_BT))
        pieces = []
        with parametrize.cached():
            for piece_BT in filled.split(self.architecture.truncation, 1):
                logits_BTQ, past = self.forward_from(past, piece_BT)
                past = past.detached()
                pieces.append(logits_BTQ)
        return torch.cat(pieces, 1)[:, :samples]

    def initial_past(self, batch: int) -> SampleRNNPast:
        """Return the state of B sequences before their first piece, with learned hidden states."""
        silence = (batch, self.architecture.lookback)
        recent = torch.full(silence, self.architecture.start_code, device=self.amplitudes.device)
        return SampleRNNPast([tier.first.expand(batch, -1) for tier in self._tiers()], recent)

    def forward_from(self, past: SampleRNNPast, codes_BT: Tensor) -> tuple[Tensor, SampleRNNPast]:
        """Return logits (B, T, Q) of a piece of sequences, and the state for the next piece.

        Successive pieces give the logits and gradients of the whole sequence.
        :meth:`SampleRNNPast.detached` truncates the gradients between two pieces. ValueError if T
        is not a multiple of the longest frame.
        """
        lookback = self.architecture.lookback
        if codes_BT.shape[1] % lookback:
            raise ValueError(
                f"A piece has {codes_BT.shape[1]} samples, not a multiple of the longest frame, "
                f"{lookback}: pass whole frames."
            )
        codes_so_far = torch.cat([past.recent, codes_BT.long()], 1)
        amplitudes = self.amplitudes[codes_so_far]
        hiddens = list(past.hiddens)
        above_BND: Tensor | None = None
        for number, tier in reversed(list(enumerate(self._tiers()))):
            read = amplitudes[:, lookback - tier.frame : -tier.frame]
            frames_BNP = read.unflatten(1, (-1, tier.frame))
            above_BND, hiddens[number] = tier(frames_BNP, above_BND, hiddens[number])
        assert above_BND is not None
        seen = codes_so_far[:, lookback - self.architecture.frames[0] : -1]
        return self._logits(seen, above_BND), SampleRNNPast(hiddens, codes_so_far[:, -lookback:])

    @torch.no_grad()
    def start(self, batch: int) -> SampleRNNState:
        """Return the state of B sequences before their first code."""
        width = self.architecture.width
        conditioning = [tier.first.new_zeros(batch, tier.size, width) for tier in self._tiers()]
        return SampleRNNState(0, self.initial_past(batch), conditioning)

    @torch.no_grad()
    def prime(self, codes_BT: Tensor) -> tuple[Tensor, SampleRNNState]:
        """Return logits (B, Q) of the code after a sequence (B, T), and the state afterwards.

        Whole frames of the longest tier are read in parallel, the rest step by step.
        """
        lookback = self.architecture.lookback
        fed_BT = functional.pad(codes_BT.long(), (1, 0), value=self.architecture.start_code)
        whole = codes_BT.shape[1] // lookback * lookback
        state = self.start(len(codes_BT))
        past = state.past
        for first in range(0, whole, self.architecture.truncation):
            last = min(first + self.architecture.truncation, whole)
            past = self.forward_from(past, codes_BT[:, first:last])[1]
        padded_BT = functional.pad(fed_BT, (lookback, 0), value=self.architecture.start_code)
        state.past = SampleRNNPast(past.hiddens, padded_BT[:, whole : whole + lookback])
        state.clock = whole
        for codes_B in fed_BT[:, whole:].T:
            logits_BQ, state = self.step(state, codes_B)
        return logits_BQ, state

    @torch.no_grad()
    def step(self, state: SampleRNNState, codes_B: Tensor) -> tuple[Tensor, SampleRNNState]:
        """Return logits (B, Q) of the code after the codes (B,), and the state, updated in place.

        If the first codes are the start code, the logits equal those of :meth:`forward`. A tier
        advances only after the last sample of its frame. In ``torch.nn.utils.parametrize.cached()``
        many steps are faster: weights are normed only once.
        """
        past = state.past
        past.recent = torch.cat([past.recent[:, 1:], codes_B[:, None].long()], 1)
        above_B1D: Tensor | None = None
        for number, tier in reversed(list(enumerate(self._tiers()))):
            if state.clock % tier.frame == 0:
                frame_B1P = self.amplitudes[past.recent[:, None, -tier.frame :]]
                state.conditioning[number], past.hiddens[number] = tier(
                    frame_B1P, above_B1D, past.hiddens[number]
                )
            place = state.clock % tier.frame * tier.size // tier.frame
            above_B1D = state.conditioning[number][:, place : place + 1]
        assert above_B1D is not None
        state.clock += 1
        seen = past.recent[:, -self.architecture.frames[0] :]
        return self._logits(seen, above_B1D)[:, 0], state

    def _tiers(self) -> list[Tier]:
        return [tier for tier in self.tiers if isinstance(tier, Tier)]

    def _logits(self, codes: Tensor, above_BTD: Tensor) -> Tensor:
        """Return logits (B, T, Q) from the codes (B, P + T - 1) before them and the lowest tier."""
        read_BDT = self.read(self.embedding(codes).transpose(1, 2))
        x_BTD = torch.relu_(read_BDT.transpose(1, 2) + above_BTD)
        logits: Tensor = self.head(torch.relu_(self.hidden(x_BTD)))
        return logits


def _weight_normed(
    layer: nn.Linear | nn.Conv1d, follows: Literal["relu", "linear"] = "relu", dim: int = 0
) -> nn.Module:
    """Return a layer with weight norm, uniform weights for the given activation, and zero bias.

    Their variance is 2 / fan-in before ReLU (He et al. 2015, arXiv 1502.01852), and 1 / fan-in
    before no activation (LeCun et al. 1998).
    """
    init.kaiming_uniform_(layer.weight, nonlinearity=follows)
    if layer.bias is not None:
        init.zeros_(layer.bias)
    normed: nn.Module = weight_norm(layer, dim=dim)
    return normed
