"""Memory that a training step needs for its backward pass, by formula: plain Python, no torch.

The formulas list the tensors that autograd saves for each layer of this project.
``tests/model/test_activations.py`` compares the sums with the tensors that torch saves.
For a GPU the formulas assume fused attention and masks of one byte; no test measures them there.
"""

from dataclasses import dataclass
from typing import Literal

from model import accounting
from model.accounting import ConvolutionCount
from model.architecture import LINEAR_ORDER, Architecture, Shape
from model.targets import Targets

Device = Literal["cpu", "cuda"]

CACHED_RUNS = 16
"""Runs that the CPU convolves at a time: the layer outputs of more runs would not fit its cache."""
GROUPED_LATENTS = {"cpu": 1_024, "cuda": 65_536}
"""Latents that the Transformer reads at a time: more would leave the cache, or fill memory."""

FULL = 4
HALF = 2
LOGISTIC_COPIES = 13
"""Tensors of the logits' size that autograd saves for the linear predictor's distribution."""
MIXTURE_COPIES = {False: 13, True: 17}
"""Tensors of the weights' size that autograd saves for a mixture, with a recent path or without."""


@dataclass(frozen=True)
class Activations:
    """Bytes of one worker's micro-batch, beyond weights, gradients and optimizer.

    encoder, recent: kept until the end of the step.
    sequences: the Transformer's input latents, with their gradient.
    transformer: the graph of one group of sequences, including the head.
    sums: the gradients of several groups, summed.
    workspace: temporary memory of the encoder's backward pass.
    """

    encoder: float
    recent: float
    sequences: float
    transformer: float
    sums: float
    workspace: float

    @property
    def forward(self) -> float:
        """Peak bytes before the weights' gradients: with the graph of a group of sequences."""
        return self.encoder + self.recent + self.sequences + self.transformer + self.sums

    @property
    def backward(self) -> float:
        """Peak bytes in the encoder's backward pass, besides the weights' gradients.

        The sequences' gradients then still wait for the recent-sample path, if there is one.
        """
        waiting = self.sequences + self.sums if self.recent else 0.0
        return self.encoder + self.recent + waiting + self.workspace


def estimate_activations(
    shape: Shape,
    targets: Targets,
    positions: int,
    windows: int,
    *,
    half: bool = False,
    device: Device = "cpu",
    sharded: bool = False,
) -> Activations | None:
    """Return the memory of a micro-batch's activations, or None for a baseline (no formula).

    ``half`` computes products in bfloat16. With ``sharded`` parameters (ZeRO 3), the Transformer
    reads all sequences at once, and casts of weights are not kept.
    """
    if not isinstance(shape, Architecture):
        return None
    return _Counting(shape, targets, positions, windows, half, device, sharded).count()


@dataclass(frozen=True)
class _Counting:
    a: Architecture
    targets: Targets
    positions: int
    windows: int
    half: bool
    device: Device
    sharded: bool

    @property
    def wide(self) -> int:
        """Bytes of one number in a product's output."""
        return HALF if self.half else FULL

    def count(self) -> Activations:
        encoder, workspace = self._encoder()
        sequences, size = self._sequences()
        several = not self.sharded and sequences > size
        # The latents of each sequence, and their gradient if it is summed group by group.
        copies = 1 + several
        of_recent = FULL * (self.a.recent > 0)
        latent = copies * (self.wide + of_recent) * self.a.width
        return Activations(
            encoder=encoder,
            recent=self._recent(),
            sequences=sequences * self.a.latents * latent,
            transformer=self._group(size if several else sequences),
            sums=self._sums() if several else 0.0,
            workspace=workspace,
        )

    def _sequences(self) -> tuple[int, int]:
        """Return the sequences of the micro-batch, and how many of them form a group."""
        targets = self.windows * self.positions * self.targets.phases
        of_targets = targets if self.targets.mode == "last" else targets // self.a.latents
        return of_targets, max(1, GROUPED_LATENTS[self.device] // self.a.latents)

    def _noise(self, dropout: float) -> int:
        """Return the bytes of one number's dropout mask: a factor on the CPU, a byte on a GPU."""
        return 0 if not dropout else self.wide if self.device == "cpu" else 1

    def _encoder(self) -> tuple[float, float]:
        """Return the bytes kept, and the workspace of the largest layer's backward pass."""
        a = self.a
        stack = ConvolutionCount((1, *a.filters), a.kernel, a.strides, a.chunk, a.width)
        runs, read, outputs = accounting.encoder_runs(stack, self.targets, self.positions, a)
        runs *= self.windows
        each = self.wide * read + (self.wide + self._noise(a.encoder_dropout)) * sum(outputs)
        casts = HALF * accounting.parameters(a)["encoder"] if self.half else 0
        once, cpu = self.targets.phases == 1, self.device == "cpu"
        at_once = min(runs, CACHED_RUNS) if once and cpu else runs
        # The gradient of the largest layer's output, before and after its ReLU.
        workspace = 2 * at_once * self.wide * max(outputs)
        if cpu and not once:
            # The CPU unfolds the input of a dilated convolution, in float32, run by run.
            workspace = max(
                workspace,
                *(
                    FULL * a.kernel * before * output // after + self.wide * runs * output
                    for before, after, output in zip(
                        a.filters, a.filters[1:], outputs[1:], strict=False
                    )
                ),
            )
        return runs * each + casts, workspace

    def _recent(self) -> float:
        a = self.a
        if not a.recent:
            return 0.0
        stack = accounting.recent_stack(a)
        if self.targets.phases == 1:
            runs, seen, outputs = self.positions, a.recent, stack.outputs()
        else:
            runs, seen = accounting.recent_strips(self.targets, self.positions, a)
            outputs = stack.dense_outputs(seen - LINEAR_ORDER)
        # Codes, predictions, errors and their tanh and logarithm are float32; the rest are
        # products.
        features = 8 * FULL * (seen - LINEAR_ORDER)
        casts = HALF * accounting.parameters(a)["recent"] if self.half else 0
        return runs * self.windows * (features + self.wide * sum(outputs)) + casts

    def _group(self, sequences: int) -> float:
        """Return the bytes of the graph of some sequences, from their latents to their losses."""
        a = self.a
        last = self.targets.mode == "last"
        read = sequences * (1 if last else a.latents)
        full = (a.layers - last) * sequences * a.latents * self._latent()
        newest = sequences * (a.latents * self._looked_at() + self._latent()) if last else 0.0
        start = sequences * a.latents * a.width * (self.wide + self._noise(a.dropout))
        return full + newest + start + read * self._target() + self._weights()

    def _weights(self) -> float:
        """Return the bytes of tensors computed from the weights: folded matrices, and casts."""
        a = self.a
        folds, inner = 2 * a.heads * a.width**2, a.heads * a.head_size * a.width
        if not self.half or self.sharded:
            return FULL * a.layers * (folds + inner) if a.latents_are_keys else 0.0
        counts = accounting.parameters(a)
        if not a.latents_are_keys:
            return HALF * (counts["transformer"] + counts["head"])
        # Four casts of the folded weights, two of their products, and both blocks' other weights.
        layer = folds + 6 * inner + 2 * a.width * a.feed_forward
        return HALF * (a.layers * layer + counts["head"])

    def _sums(self) -> float:
        """Return the bytes of the gradients of all tensors that groups share."""
        a = self.a
        counts = accounting.parameters(a)
        numbers = counts["transformer"] + counts["head"]
        if a.latents_are_keys:
            inner = a.heads * a.head_size * a.width
            numbers += a.layers * (2 * a.heads * a.width**2 - 4 * inner)
        return float(FULL * numbers)

    def _latent(self) -> float:
        """Return the bytes of one latent in one layer that computes its output from all others."""
        a, wide, noise = self.a, self.wide, self._noise(self.a.dropout)
        # The input, the input of both norms and the output of the first one.
        beside = a.width * (2 * wide + 2 * FULL + 2 * noise) + a.feed_forward * wide
        inner = a.heads * (a.width if a.latents_are_keys else a.head_size)
        if self._plain:
            return beside + wide * (4 * inner + 3 * a.heads * a.latents)
        if a.latents_are_keys:
            # A key and a value that all heads share; with autocast, the CPU stores one for each
            # head.
            shared = 2 * inner if self.half and self.device == "cpu" else a.width
            return beside + wide * (2 * inner + shared) + FULL * a.heads
        return beside + wide * 5 * inner + FULL * a.heads

    def _looked_at(self) -> float:
        """Return the bytes of one latent that only a single query attends to."""
        a = self.a
        each = 2 * a.heads * a.width if self._plain else a.width
        if self.half and self.device == "cpu":
            each = 2 * a.heads * a.width
        return self.wide * (each + a.width * (a.attention == "causal"))

    @property
    def _plain(self) -> bool:
        """True if attention is plain products: the CPU's fused kernel does not support dropout."""
        return self.device == "cpu" and self.a.dropout > 0

    def _target(self) -> float:
        """Return the bytes of one target in the head and the loss, with the output's gradient."""
        a = self.a
        hidden = self.wide * a.hidden
        if a.head_dropout:
            hidden += (self.wide + self._noise(a.head_dropout)) * a.hidden
        if a.likelihood == "logistic_mixture":
            numbers = a.components * (3 + MIXTURE_COPIES[a.recent > 0])
        elif a.likelihood == "mean_square":
            numbers = 3
        else:
            numbers = a.levels * (3 + (LOGISTIC_COPIES if a.recent else 0))
        return hidden + FULL * numbers + self.wide * a.width
