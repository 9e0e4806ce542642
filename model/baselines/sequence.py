"""A baseline behind the interface of :class:`model.network.LatentTransformer`.

A baseline gives the logits of every code of a sequence from those before it, which begins with
silence. What a window trains, and how a model is scored, is a choice among those.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from model.baselines.samplernn import SampleRNN, SampleRNNState
from model.baselines.sashimi import SaShiMi, SaShiMiState
from model.baselines.shapes import SampleRNNArchitecture, WaveNetArchitecture
from model.baselines.wavenet import WaveNet, WaveNetState
from model.kinds import Baseline
from model.nats import nats
from model.sampling import Sampling, draw
from model.targets import Targets

RUNS = 16
"""Runs of a receptive field that are read together."""


class SequenceModel(nn.Module):
    """WaveNet, SampleRNN or SaShiMi, as its shape says: windows of codes in, nats out."""

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
        """Samples before a target that its logits depend on; None where nothing bounds them."""
        return self.architecture.receptive_field

    def forward(
        self, window_BT: Tensor, targets: Targets, padding_B: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean loss of the targets of windows of codes (B, T), and the nats (B, n, 1) of each.

        The mean can be differentiated, the single losses are detached. Padding needs no mask: it is
        silence, such as every sequence begins after.
        """
        codes_BnP = targets.codes(window_BT, self.architecture)
        nats_BnP = nats(self.logits(window_BT, targets), codes_BnP)
        return nats_BnP.mean(), nats_BnP.detach()

    def logits(
        self, window_BT: Tensor, targets: Targets, padding_B: Tensor | None = None
    ) -> Tensor:
        """Logits (B, n, 1, Q) of the targets of windows of codes (B, T).

        ``last`` targets see everything before them in the window: L samples or more.
        """
        n = targets.positions(window_BT.shape[1], self.architecture)
        reach, history = self.receptive_field, targets.history(self.architecture)
        if reach is None or history < reach or n * (reach + 1) >= window_BT.shape[1]:
            every_BTQ: Tensor = self.network(window_BT)
            return every_BTQ[:, history :: targets.spacing, None]
        # What lies between the fields of targets far apart changes nothing.
        runs_BnR = window_BT[:, history - reach :].unfold(1, reach + 1, targets.spacing)
        parts = runs_BnR.flatten(0, 1).split(RUNS)
        newest = torch.cat([self.network(part)[:, -1] for part in parts])
        return newest.view(len(window_BT), n, 1, -1)

    def draw(self, said_BQ: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
        """Codes (B,) by their logits, from a uniform number each."""
        return draw(said_BQ, uniform_B, sampling)

    def cost(self, said_BQ: Tensor, codes_B: Tensor) -> Tensor:
        """The nats (B,) of codes (B,) under their logits."""
        return nats(said_BQ, codes_B)

    def root_mean_square(self, nats: float) -> float | None:
        """None: it says more than one value."""
        return None

    @torch.no_grad()
    def dense_nats(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """The nats of every code of a signal that has a full context before it, block by block.

        As :func:`model.inference.dense.dense_nats`, but that a target sees L to 2 L samples: a recurrent
        network that read exactly L for each would take L steps a target.
        """
        context = self.architecture.context
        device = next(self.parameters()).device
        known = torch.empty(0, dtype=torch.uint8)
        targets = Targets("last", 1)
        for block in blocks:
            known = torch.cat([known, block.cpu()])
            while len(known) >= 2 * context:
                yield self(known[None, : 2 * context].to(device), targets)[1].flatten()
                known = known[context:]
        if len(known) > context:
            yield self(known[None].to(device), targets)[1].flatten()


class SequenceStreams:
    """The state of B continuations of a prompt (B, S), of which the newest L codes count."""

    @torch.no_grad()
    def __init__(self, model: SequenceModel, prompt_BS: Tensor) -> None:
        self.network = model.eval().network
        seen_BS = prompt_BS[:, -model.architecture.context :].to(next(model.parameters()).device)
        self._state: WaveNetState | SampleRNNState | SaShiMiState
        self.said_BO, self._state = self.network.prime(seen_BS)

    def step(self, codes_B: Tensor) -> Tensor:
        """Logits (B, Q) of what follows, after the codes (B,)."""
        said_BQ: Tensor
        said_BQ, self._state = self.network.step(self._state, codes_B)  # type: ignore[arg-type]
        return said_BQ
