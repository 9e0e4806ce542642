"""The latent Transformer of Verma 2022 (arXiv 2206.08297): encoder, head, and the whole model.

A window becomes sequences of latents. In ``last`` mode they are the contexts of its targets: the
output at the newest latent predicts the target (M = 1 target a sequence). In other modes they are
the chunks of each phase: each latent's output predicts a target (M = N). S, in shapes, counts
sequences.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.activations import GROUPED_LATENTS
from model.architecture import LINEAR_ORDER, Architecture
from model.attention import Folded
from model.codes import code_amplitudes
from model.convolutions import Convolutions
from model.grouped_mean import grouped_mean
from model.likelihood import LIKELIHOODS, MeanSquare
from model.linear import LinearPrediction, LinearPredictor
from model.recent import RecentOutput, RecentPath
from model.sampling import Sampling
from model.targets import Targets
from model.transformer import Transformer


class ChunkEncoder(nn.Module):
    """Strided convolutions over one chunk, flattened and projected to the width."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.levels = architecture.levels
        self.stack = Convolutions(
            (1, *architecture.filters),
            architecture.kernel,
            architecture.strides,
            architecture.chunk,
            architecture.width,
            architecture.encoder_dropout,
        )

    def features(self, codes: Tensor) -> Tensor:
        """Return the convolutions' input for codes (any shape): their amplitudes."""
        return code_amplitudes(codes, self.levels, self.stack.projection.weight.dtype)

    def forward(self, chunks_BC: Tensor) -> Tensor:
        """Return latents (..., D) of chunks of codes (..., C)."""
        runs_B1C = self.features(chunks_BC).reshape(-1, 1, chunks_BC.shape[-1])
        latents: Tensor = self.stack(runs_B1C)
        return latents.reshape(*chunks_BC.shape[:-1], -1)

    def dense(self, codes_BT: Tensor) -> Tensor:
        """Return latents (B, T - C + 1, D) of the chunks at every offset of codes (B, T)."""
        return self.stack.dense(self.features(codes_BT)[:, None])


class Head(nn.Module):
    """A hidden layer and an output layer, from a latent to the distribution of the next code.

    If there is a recent-sample path, the distribution is centred on the linear prediction.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.hidden = nn.Linear(architecture.width, architecture.hidden)
        self.dropout = nn.Dropout(architecture.head_dropout)
        self.output = nn.Linear(architecture.hidden, architecture.outputs)
        self.likelihood = LIKELIHOODS[architecture.likelihood](architecture)

    def forward(self, latent_D: Tensor, recent: RecentOutput | None) -> Tensor:
        """Return the distribution's parameters (..., O), float32 even under autocast."""
        if recent is not None:
            latent_D = latent_D + recent.summand
        output: Tensor = self.output(self.dropout(torch.relu_(self.hidden(latent_D))))
        distribution: Tensor = self.likelihood(
            output.to(torch.promote_types(output.dtype, torch.float32)), recent
        )
        return distribution


class Sequences(NamedTuple):
    """A window's latents (S, N, D), and the recent-sample path's outputs (S, M, ...).

    ``real_SN`` is false where a latent's chunk contains padding; None if no chunk does.
    """

    latents_SND: Tensor
    recent: RecentOutput | None
    real_SN: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Return the tensors (S, ...) that differ between sequences."""
        tensors = [self.latents_SND]
        if self.real_SN is not None:
            tensors.append(self.real_SN)
        if self.recent is not None:
            tensors += [self.recent.summand, self.recent.predicted]
        return tensors

    def group(self, tensors: Sequence[Tensor]) -> "Sequences":
        """Return some of the sequences, from their part of :meth:`tensors`."""
        remaining = iter(tensors)
        latents = next(remaining)
        real = None if self.real_SN is None else next(remaining)
        recent = self.recent and self.recent._replace(
            summand=next(remaining), predicted=next(remaining)
        )
        return Sequences(latents, recent, real)


class LatentTransformer(nn.Module):
    """Encoder, Transformer and head, with a recent-sample path if ``recent`` is above 0.

    ``in_groups`` computes the gradients of a window's sequences group by group, which bounds
    memory. It needs unsharded parameters, so it is off under ZeRO 3.
    """

    def __init__(
        self, architecture: Architecture, prediction: LinearPrediction | None = None
    ) -> None:
        super().__init__()
        if problems := architecture.problems():
            raise ValueError("\n".join(problems))
        self.architecture = architecture
        self.in_groups = True
        self.encoder = ChunkEncoder(architecture)
        self.transformer = Transformer(architecture)
        self.head = Head(architecture)
        if architecture.recent:
            self.linear = LinearPredictor(LINEAR_ORDER, architecture.levels)
            self.recent = RecentPath(architecture)
            # A first output of exactly zero: training starts at the linear prediction.
            nn.init.zeros_(self.head.output.weight)
            nn.init.zeros_(self.head.output.bias)
            if prediction is not None:
                self.linear.load_fit(prediction)

    @property
    def receptive_field(self) -> int:
        """Samples before a target that its logits depend on."""
        return self.architecture.context

    def forward(
        self, window_BT: Tensor, targets: Targets, padding_B: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss of a batch's targets, and the nats of each target.

        The mean is differentiable, the nats (B, n, P) are detached. ``padding_B`` (int64) counts
        the oldest samples of each window (B, T) that lie before its recording (``last`` targets
        only); on the CPU it is checked without waiting for a GPU. If a chunk contains padding, it
        is masked: a target is predicted as from the context of the whole chunks after it.

        Raises:
            ValueError: the window does not fit the targets, or padding leaves the first target
                without a whole chunk or without all its recent samples.
        """
        codes_BnP = targets.codes(window_BT, self.architecture)
        sequences = self.sequences(window_BT, targets, padding_B)
        codes_SM = codes_BnP.permute(2, 0, 1).reshape(len(sequences.latents_SND), -1)
        size = max(1, GROUPED_LATENTS[window_BT.device.type] // self.architecture.latents)
        if not self.in_groups or len(codes_SM) <= size:
            nats_SM = self.sequence_nats(sequences, codes_SM, targets)
            mean = nats_SM.mean()
        elif torch.is_grad_enabled():
            mean, nats_SM = self._nats_in_groups(sequences, codes_SM, targets, size)
        else:
            parts = zip(*(one.split(size) for one in (codes_SM, *sequences.tensors())), strict=True)
            nats_SM = torch.cat(
                [
                    self.sequence_nats(sequences.group(part), codes, targets)
                    for codes, *part in parts
                ]
            )
            mean = nats_SM.mean()
        count, positions, phases = codes_BnP.shape
        return mean, nats_SM.detach().view(phases, count, positions).permute(1, 2, 0)

    def logits(
        self, window_BT: Tensor, targets: Targets, padding_B: Tensor | None = None
    ) -> Tensor:
        """Return logits (B, n, P, Q) of the targets of windows (B, T), as for :meth:`forward`."""
        shape = targets.codes(window_BT, self.architecture).shape
        distribution_SMO = self._distribution(
            self.sequences(window_BT, targets, padding_B), targets
        )
        logits_SMQ = self.head.likelihood.logits(distribution_SMO)
        return logits_SMQ.view(shape[2], shape[0], shape[1], -1).permute(1, 2, 0, 3)

    def draw(self, distribution_BO: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
        """Draw codes (B,) from their distributions (B, O), with one uniform number each."""
        return self.head.likelihood.draw(distribution_BO, uniform_B, sampling)

    def code_nats(self, distribution_BO: Tensor, codes_B: Tensor) -> Tensor:
        """Return the nats (B,) of codes (B,) under their distributions (B, O)."""
        return self.head.likelihood.nats(distribution_BO, codes_B)

    def root_mean_square(self, nats: float) -> float | None:
        """Return the RMS error, in codes, that a mean loss implies; None unless ``mean_square``."""
        likelihood = self.head.likelihood
        if not isinstance(likelihood, MeanSquare):
            return None
        scale = self.linear.scale if self.architecture.recent else None
        return likelihood.root_mean_square(nats, scale)

    def sequences(
        self, window_BT: Tensor, targets: Targets, padding_B: Tensor | None = None
    ) -> Sequences:
        """Return the latents of windows of codes (B, T), with each chunk encoded once a phase."""
        a = self.architecture
        positions = targets.positions(window_BT.shape[1], a)
        real_SN = None if padding_B is None else self._real(window_BT, targets, padding_B)
        past_BT = window_BT[:, :-1]
        if targets.mode == "last":
            latents_BMD = self.encoder(past_BT.unflatten(1, (-1, a.chunk)))
            latents = targets.history(a) // a.chunk
            contexts_BnDN = latents_BMD.unfold(1, latents, targets.spacing // a.chunk)
            latents_SND = contexts_BnDN.flatten(0, 1).transpose(1, 2)
        else:
            if targets.phases == 1:
                latents_BnDP = self.encoder(past_BT.unflatten(1, (-1, a.chunk)))[..., None]
            elif targets.is_read_in_strips(a.chunk, a):
                strips_BnT = past_BT.unfold(1, a.chunk + targets.phases - 1, a.chunk)
                latents_SPD = self.encoder.dense(strips_BnT.flatten(0, 1))
                latents_BnDP = latents_SPD.unflatten(0, strips_BnT.shape[:2]).transpose(2, 3)
            else:
                latents_BnDP = self.encoder.dense(past_BT).unfold(1, targets.phases, a.chunk)
            latents_PBnD = latents_BnDP.permute(3, 0, 1, 2).contiguous()
            latents_SND = latents_PBnD.view(-1, a.latents, a.width)
        if not a.recent:
            return Sequences(latents_SND, None, real_SN)
        recent_BnP = self._recent(past_BT[:, targets.history(a) - a.recent :], targets, positions)
        shape = (len(latents_SND), -1)
        return Sequences(
            latents_SND,
            RecentOutput(
                recent_BnP.summand.permute(2, 0, 1, 3).reshape(*shape, a.width),
                recent_BnP.predicted.permute(2, 0, 1).reshape(shape),
                recent_BnP.scale,
            ),
            real_SN,
        )

    def _real(self, window_BT: Tensor, targets: Targets, padding_B: Tensor) -> Tensor | None:
        """Return which latents (S, N) have a chunk without padding; None if all have.

        Sequences are the contexts of ``last`` targets, window by window.
        """
        a = self.architecture
        assert padding_B.shape == window_BT.shape[:1]
        lowest, highest = int(padding_B.min()), int(padding_B.max())
        targets.check_padding(lowest, highest, a)
        if highest == 0:
            # A mask that is true everywhere would only exclude the fastest attention kernels.
            return None
        device, context = window_BT.device, targets.history(a)
        contexts_n = torch.arange(0, window_BT.shape[1] - context, targets.spacing, device=device)
        begins_nN = contexts_n[:, None] + torch.arange(0, context, a.chunk, device=device)
        padding_B11 = padding_B.to(device, non_blocking=True)[:, None, None]
        return (begins_nN >= padding_B11).flatten(0, 1)

    def _recent(self, codes_BT: Tensor, targets: Targets, positions: int) -> RecentOutput:
        """Return the outputs (B, n, P) for codes (B, T) that begin R before the first target."""
        a = self.architecture
        if targets.phases == 1:
            runs_BnR = codes_BT.unfold(1, a.recent, targets.spacing)
            single = self.recent_output(runs_BnR.flatten(0, 1))
            shape = (len(codes_BT), positions, 1)
            return RecentOutput(
                single.summand.view(*shape, -1), single.predicted.view(shape), single.scale
            )
        if targets.is_read_in_strips(a.recent, a):
            strips_BnT = codes_BT.unfold(1, a.recent + targets.phases - 1, a.chunk)
            dense = self.recent_outputs(strips_BnT.flatten(0, 1))
            return dense._replace(
                summand=dense.summand.unflatten(0, strips_BnT.shape[:2]),
                predicted=dense.predicted.unflatten(0, strips_BnT.shape[:2]),
            )
        dense = self.recent_outputs(codes_BT)
        return dense._replace(
            summand=dense.summand.unfold(1, targets.phases, a.chunk).transpose(2, 3),
            predicted=dense.predicted.unfold(1, targets.phases, a.chunk),
        )

    def recent_output(self, codes_BR: Tensor) -> RecentOutput:
        """Return the recent-sample path's output for the code after the newest R codes (B, R)."""
        predicted_BR, scale = self.linear_predictions(codes_BR)
        summand_BD = self.recent(codes_BR, predicted_BR[:, :-1], scale)
        return RecentOutput(summand_BD, predicted_BR[:, -1], scale)

    def recent_outputs(self, codes_BT: Tensor) -> RecentOutput:
        """Return the outputs (B, T - R + 1, ...) for the code after each run of R codes (B, T)."""
        predicted_BT, scale = self.linear_predictions(codes_BT)
        summand_BTD = self.recent.dense(codes_BT, predicted_BT[:, :-1], scale)
        return RecentOutput(
            summand_BTD, predicted_BT[:, self.architecture.recent - LINEAR_ORDER :], scale
        )

    def linear_predictions(self, codes_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predictions (B, T - 31) after each 32 codes, and the scale (1,), in codes."""
        # The prediction is a small difference of large numbers, exact only in float32: an error of
        # half a code would cost more than the network can gain.
        with torch.autocast(codes_BT.device.type, enabled=False):
            predicted: tuple[Tensor, Tensor] = self.linear(codes_BT)
        return predicted

    def _distribution(
        self, sequences: Sequences, targets: Targets, folded: Sequence[Folded] | None = None
    ) -> Tensor:
        """Return the distributions' parameters (S, M, O) of the targets of sequences."""
        folded = folded or self.transformer.fold()
        if targets.mode == "last":
            newest_SD = self.transformer.newest_output(
                sequences.latents_SND, folded, sequences.real_SN
            )
            read_SMD = newest_SD[:, None]
        else:
            read_SMD = self.transformer.states(sequences.latents_SND, folded)[-1]
        distribution: Tensor = self.head(read_SMD, sequences.recent)
        return distribution

    def sequence_nats(
        self,
        sequences: Sequences,
        codes_SM: Tensor,
        targets: Targets,
        folded: Sequence[Folded] | None = None,
    ) -> Tensor:
        """Return the nats (S, M) of the targets (S, M) of sequences."""
        distribution_SMO = self._distribution(sequences, targets, folded)
        return self.head.likelihood.nats(distribution_SMO, codes_SM)

    def _nats_in_groups(
        self, sequences: Sequences, codes_SM: Tensor, targets: Targets, size: int
    ) -> tuple[Tensor, Tensor]:
        folded = self.transformer.fold()
        shared = [*self.transformer.used_tensors(folded), *self.head.parameters()]
        if sequences.recent is not None:
            shared.append(sequences.recent.scale)

        def losses_of(parts: Sequence[Tensor]) -> Tensor:
            codes, *tensors = parts
            return self.sequence_nats(sequences.group(tensors), codes, targets, folded)

        return grouped_mean(losses_of, [codes_SM, *sequences.tensors()], shared, size)
