"""A baseline with the interface of :class:`model.network.LatentTransformer`.

A baseline computes the logits of every code of a sequence from silence and the codes before it.
Targets and scores select from those logits.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from model.architecture import Baseline
from model.baselines.samplernn import SampleRNN, SampleRNNState
from model.baselines.sashimi import SaShiMi, SaShiMiState
from model.baselines.shapes import SampleRNNArchitecture, WaveNetArchitecture
from model.baselines.wavenet import WaveNet, WaveNetState
from model.likelihood import code_nats
from model.sampling import Sampling, draw
from model.targets import Targets

RUNS = 16
"""Runs of a receptive field that are read together."""


class SequenceModel(nn.Module):
    """WaveNet, SampleRNN or SaShiMi, by its architecture: windows of codes in, nats out."""

    def __init__(self, architecture: Baseline) -> None:
        super().__init__()
        self.architecture = architecture
        self.network: WaveNet | SampleRNN | SaShiMi
        if isinstance(architecture, WaveNetArchitecture):
            self.network = WaveNet(architecture)
        elif isinstance(architecture, SampleRNNArchitecture):
            self.network = SampleRNN(architecture)
        else:
            self.network = SaShiMi(architecture)

    @property
    def receptive_field(self) -> int | None:
        """Samples before a target that its logits depend on; None if unbounded."""
        return self.architecture.receptive_field

    def forward(
        self, window_BT: Tensor, targets: Targets, padding_B: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss of the targets of windows (B, T), and the nats (B, n, 1) of each.

        The mean is differentiable, the nats are detached. Padding needs no mask, since it is
        silence, with which every sequence begins.
        """
        codes_BnP = targets.codes(window_BT, self.architecture)
        nats_BnP = code_nats(self.logits(window_BT, targets), codes_BnP)
        return nats_BnP.mean(), nats_BnP.detach()

    def logits(
        self, window_BT: Tensor, targets: Targets, padding_B: Tensor | None = None
    ) -> Tensor:
        """Return logits (B, n, 1, Q) of the targets of windows of codes (B, T).

        The context of ``last`` targets is everything before them in the window: L samples or more.
        """
        n = targets.positions(window_BT.shape[1], self.architecture)
        reach, history = self.receptive_field, targets.history(self.architecture)
        if reach is None or history < reach or n * (reach + 1) >= window_BT.shape[1]:
            every_BTQ: Tensor = self.network(window_BT)
            return every_BTQ[:, history :: targets.spacing, None]
        # Samples outside the receptive fields of the targets have no effect.
        runs_BnR = window_BT[:, history - reach :].unfold(1, reach + 1, targets.spacing)
        parts = runs_BnR.flatten(0, 1).split(RUNS)
        newest = torch.cat([self.network(part)[:, -1] for part in parts])
        return newest.view(len(window_BT), n, 1, -1)

    def draw(self, logits_BQ: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
        """Draw codes (B,) from their logits, with one uniform number each."""
        return draw(logits_BQ, uniform_B, sampling)

    def code_nats(self, logits_BQ: Tensor, codes_B: Tensor) -> Tensor:
        """Return the nats (B,) of codes (B,) under their logits."""
        return code_nats(logits_BQ, codes_B)

    def root_mean_square(self, nats: float) -> float | None:
        """Return None: a baseline predicts a distribution, not one value."""
        return None

    @torch.no_grad()
    def dense_nats(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the nats of every code of a signal with a full context before it, block by block.

        As :func:`model.inference.dense.dense_nats`, but a target's context is L to 2 L samples.
        A recurrent network would take L steps a target for a context of exactly L.
        """
        context = self.architecture.context
        device = next(self.parameters()).device
        pending = torch.empty(0, dtype=torch.uint8)
        targets = Targets("last", 1)
        for block in blocks:
            pending = torch.cat([pending, block.cpu()])
            while len(pending) >= 2 * context:
                yield self(pending[None, : 2 * context].to(device), targets)[1].flatten()
                pending = pending[context:]
        if len(pending) > context:
            yield self(pending[None].to(device), targets)[1].flatten()


class SequenceStreams:
    """State of B continuations of a prompt (B, S); the model reads the newest L codes."""

    @torch.no_grad()
    def __init__(self, model: SequenceModel, prompt_BS: Tensor) -> None:
        self.network = model.eval().network
        seen_BS = prompt_BS[:, -model.architecture.context :].to(next(model.parameters()).device)
        self._state: WaveNetState | SampleRNNState | SaShiMiState
        self.distribution_BO, self._state = self.network.prime(seen_BS)

    def step(self, codes_B: Tensor) -> Tensor:
        """Return the logits (B, Q) of the next code after the codes (B,)."""
        logits_BQ: Tensor
        logits_BQ, self._state = self.network.step(self._state, codes_B)  # type: ignore[arg-type]
        return logits_BQ
