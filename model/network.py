"""The latent Transformer of Verma 2022 (arXiv 2206.08297): a window of codes in, logits out."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.architecture import LINEAR_ORDER, Architecture
from model.encoder import ChunkEncoder
from model.linear import LinearPrediction, LinearStart, discretised_logistic
from model.recent import RecentPath
from model.transformer import Transformer


class Head(nn.Module):
    """Latent to hidden layer to logits."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.hidden = nn.Linear(architecture.width, architecture.hidden)
        self.dropout = nn.Dropout(architecture.head_dropout)
        self.output = nn.Linear(architecture.hidden, architecture.outputs)

    def forward(self, latent_BD: Tensor) -> Tensor:
        """Outputs (B, outputs) for latents (B, D), in float32 where autocast runs them in less."""
        output: Tensor = self.output(self.dropout(torch.relu(self.hidden(latent_BD))))
        return output.to(torch.promote_types(output.dtype, torch.float32))

    def start_silent(self) -> None:
        """Make the first output exactly zero, so that the linear start alone speaks."""
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)


class LatentTransformer(nn.Module):
    """Encoder, Transformer and head, with the recent-sample path where ``recent`` asks for it."""

    def __init__(
        self, architecture: Architecture, prediction: LinearPrediction | None = None
    ) -> None:
        super().__init__()
        if problems := architecture.problems():
            raise ValueError("\n".join(problems))
        self.architecture = architecture
        self.encoder = ChunkEncoder(architecture)
        self.transformer = Transformer(architecture)
        self.head = Head(architecture)
        if architecture.recent:
            self.linear = LinearStart(LINEAR_ORDER, architecture.levels)
            self.recent = RecentPath(architecture)
            self.head.start_silent()
            if prediction is not None:
                self.linear.start_from(prediction)

    @property
    def receptive_field(self) -> int:
        """Samples before a target that its logits depend on."""
        return self.architecture.context

    def targets_in(self, samples: int, spacing: int) -> int:
        """Targets of a window of so many samples, ``spacing`` apart."""
        count, rest = divmod(samples - 1 - self.architecture.context, spacing)
        if rest or count < 0 or spacing % self.architecture.chunk:
            raise ValueError(
                f"a window of {samples} samples does not hold targets {spacing} apart: it must be "
                f"context + (n - 1) spacing + 1 samples with context {self.architecture.context} "
                f"and a spacing that is a multiple of the chunk, {self.architecture.chunk}"
            )
        return count + 1

    def forward(self, window_BT: Tensor, spacing: int) -> Tensor:
        """Logits (B, n, Q) of the window's targets, each from its own full context.

        ``window_BT`` holds codes, ``L + (n - 1) S + 1`` of them; target k is the code at
        ``L + k S`` with ``S = spacing``. The contexts of neighbouring targets share all but ``S``
        samples, so every chunk is encoded once.
        """
        a = self.architecture
        targets = self.targets_in(window_BT.shape[1], spacing)
        chunks_BMC = window_BT[:, :-1].unflatten(1, (-1, a.chunk))
        latents_BMD = self.encoder(chunks_BMC)
        contexts_BnDN = latents_BMD.unfold(1, a.latents, spacing // a.chunk)
        newest = self.transformer(contexts_BnDN.flatten(0, 1).transpose(1, 2))
        if a.recent:
            recent = window_BT[:, :-1].unfold(1, a.recent, 1)[:, a.context - a.recent :: spacing]
            logits = self._with_recent(newest, recent.flatten(0, 1))
        else:
            logits = self.head(newest)
        return logits.reshape(-1, targets, a.levels)

    def _with_recent(self, newest_BD: Tensor, codes_BR: Tensor) -> Tensor:
        # The linear start is exact only in float32: its prediction is a small difference of large
        # numbers, and half a code of rounding would cost more than the network can win back.
        with torch.autocast(codes_BR.device.type, enabled=False):
            predicted, scale = self.linear(codes_BR)
        summand = self.recent(codes_BR, predicted[:, :-1], scale)
        output: Tensor = self.head(newest_BD + summand)
        levels = self.architecture.levels
        shift, stretch = output[:, levels], output[:, levels + 1]
        stretched = scale * torch.exp(stretch)
        centre = predicted[:, -1] + stretched * shift
        return output[:, :levels] + discretised_logistic(centre, stretched, levels)


def window_targets(window_BT: Tensor, context: int, spacing: int) -> Tensor:
    """The codes (B, n) that a window's logits predict: those at ``context + k * spacing``."""
    return window_BT[:, context::spacing].long()


def nats(logits_BnQ: Tensor, targets_Bn: Tensor) -> Tensor:
    """Negative log-likelihood (B, n) of each target, in nats."""
    return functional.cross_entropy(
        logits_BnQ.flatten(0, 1), targets_Bn.flatten(), reduction="none"
    ).view_as(targets_Bn)
