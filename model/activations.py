"""Bytes that a training step keeps for its backward pass, by formula: plain Python, no torch.

What autograd saves of each layer was read off this project's modules, storage by storage;
``tests/model/test_activations.py`` holds the sums against what torch saves and allocates. On a GPU the
same formulas assume fused attention and masks of one byte; they were not measured there.
"""

from dataclasses import dataclass
from typing import Literal

from model import accounting
from model.accounting import ConvolutionCount
from model.architecture import LINEAR_ORDER, Architecture
from model.kinds import Shape
from model.targets import Targets

Device = Literal["cpu", "cuda"]

CACHED_RUNS = 16
"""Runs that the CPU convolves at a time: the layers' outputs of more of them leave its cache."""
GROUPED_LATENTS = {"cpu": 1_024, "cuda": 65_536}
"""Latents that the Transformer takes at a time: more of them leave the cache, or fill memory."""

FULL = 4
HALF = 2
LOGISTIC_COPIES = 13
"""Tensors as large as the logits that the linear start's distribution keeps."""
MIXTURE_COPIES = {False: 13, True: 17}
"""Tensors as large as a mixture's weights that it keeps, without a recent path and with one."""


@dataclass(frozen=True)
class Activations:
    """Bytes of one worker's piece of a batch, beyond weights, gradients and optimizer.

    ``encoder`` and ``recent`` keep theirs until the end; ``sequences`` are the latents as the
    Transformer reads them, with their gradient; ``transformer`` is the graph of one group of
    sequences, head included, and ``sums`` what the gradients of several groups are summed in;
    ``workspace`` is what the encoder's backward pass takes on top.
    """

    encoder: float
    recent: float
    sequences: float
    transformer: float
    sums: float
    workspace: float

    @property
    def forward(self) -> float:
        """The most before the weights' gradients: with the graph of a group of sequences."""
        return self.encoder + self.recent + self.sequences + self.transformer + self.sums

    @property
    def backward(self) -> float:
        """The most in the encoder's backward pass, beside the weights' gradients.

        The gradients of the sequences wait then for the recent-sample path, where there is one.
        """
        waiting = self.sequences + self.sums if self.recent else 0.0
        return self.encoder + self.recent + waiting + self.workspace


def activations(
    shape: Shape,
    targets: Targets,
    positions: int,
    windows: int,
    *,
    half: bool = False,
    device: Device = "cpu",
    sharded: bool = False,
) -> Activations | None:
    """Those of so many windows at once; products in bfloat16 where ``half``.

    ``sharded`` says that parameters are (ZeRO 3): then the Transformer takes all sequences at once,
    and casts of weights are not kept. None for the baselines, of which no formula is known.
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
        """Bytes of a number that a product gives."""
        return HALF if self.half else FULL

    def count(self) -> Activations:
        encoder, workspace = self._encoder()
        sequences, size = self._sequences()
        several = not self.sharded and sequences > size
        # The latents of each sequence, and their gradient where it is summed group by group.
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
        """Sequences of the piece, and how many of them make a group."""
        targets = self.windows * self.positions * self.targets.phases
        of_targets = targets if self.targets.mode == "last" else targets // self.a.latents
        return of_targets, max(1, GROUPED_LATENTS[self.device] // self.a.latents)

    def _noise(self, dropout: float) -> int:
        """Bytes of a number's mask of dropout: factors on the CPU, a byte on a GPU."""
        return 0 if not dropout else self.wide if self.device == "cpu" else 1

    def _encoder(self) -> tuple[float, float]:
        """Bytes kept, and those that the backward pass of the largest layer takes."""
        a = self.a
        stack = ConvolutionCount((1, *a.filters), a.kernel, a.strides, a.chunk, a.width)
        runs, read, outputs = accounting.encoded(stack, self.targets, self.positions, a)
        runs *= self.windows
        each = self.wide * read + (self.wide + self._noise(a.encoder_dropout)) * sum(outputs)
        casts = HALF * accounting.parameters(a)["encoder"] if self.half else 0
        once, cpu = self.targets.phases == 1, self.device == "cpu"
        at_once = min(runs, CACHED_RUNS) if once and cpu else runs
        # The gradient of the largest layer's output, before and behind its rectifier.
        workspace = 2 * at_once * self.wide * max(outputs)
        if cpu and not once:
            # The CPU unfolds what a dilated convolution has read, in float32, run by run.
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
        # Codes, predictions, errors and their tanh and logarithm are float32, the rest products.
        features = 8 * FULL * (seen - LINEAR_ORDER)
        casts = HALF * accounting.parameters(a)["recent"] if self.half else 0
        return runs * self.windows * (features + self.wide * sum(outputs)) + casts

    def _group(self, sequences: int) -> float:
        """Bytes of the graph of so many sequences, from their latents to their losses."""
        a = self.a
        last = self.targets.mode == "last"
        read = sequences * (1 if last else a.latents)
        full = (a.layers - last) * sequences * a.latents * self._latent()
        newest = sequences * (a.latents * self._looked_at() + self._latent()) if last else 0.0
        start = sequences * a.latents * a.width * (self.wide + self._noise(a.dropout))
        return full + newest + start + read * self._target() + self._weights()

    def _weights(self) -> float:
        """Bytes of what is made of the weights: folded matrices, and their casts."""
        a = self.a
        folds, inner = 2 * a.heads * a.width**2, a.heads * a.head_size * a.width
        if not self.half or self.sharded:
            return FULL * a.layers * (folds + inner) if a.latents_are_keys else 0.0
        counts = accounting.parameters(a)
        if not a.latents_are_keys:
            return HALF * (counts["transformer"] + counts["head"])
        # Four casts of what is folded, two of their products, and both blocks' other weights.
        layer = folds + 6 * inner + 2 * a.width * a.feed_forward
        return HALF * (a.layers * layer + counts["head"])

    def _sums(self) -> float:
        """Bytes of the gradients of all that the groups share."""
        a = self.a
        counts = accounting.parameters(a)
        numbers = counts["transformer"] + counts["head"]
        if a.latents_are_keys:
            inner = a.heads * a.head_size * a.width
            numbers += a.layers * (2 * a.heads * a.width**2 - 4 * inner)
        return float(FULL * numbers)

    def _latent(self) -> float:
        """Bytes of one latent in one layer that reads all others for it."""
        a, wide, noise = self.a, self.wide, self._noise(self.a.dropout)
        # The input, what both norms are given and what the first one gives.
        beside = a.width * (2 * wide + 2 * FULL + 2 * noise) + a.feed_forward * wide
        inner = a.heads * (a.width if a.latents_are_keys else a.head_size)
        if self._plain:
            return beside + wide * (4 * inner + 3 * a.heads * a.latents)
        if a.latents_are_keys:
            # A key and a value that all heads share; on the CPU autocast gives each its own.
            shared = 2 * inner if self.half and self.device == "cpu" else a.width
            return beside + wide * (2 * inner + shared) + FULL * a.heads
        return beside + wide * 5 * inner + FULL * a.heads

    def _looked_at(self) -> float:
        """Bytes of one latent that a single query looks at."""
        a = self.a
        each = 2 * a.heads * a.width if self._plain else a.width
        if self.half and self.device == "cpu":
            each = 2 * a.heads * a.width
        return self.wide * (each + a.width * (a.attention == "causal"))

    @property
    def _plain(self) -> bool:
        """Whether attention is plain products: the CPU's fused kernel knows no dropout."""
        return self.device == "cpu" and self.a.dropout > 0

    def _target(self) -> float:
        """Bytes of one target in the head and the loss, the gradient of what is said included."""
        a = self.a
        hidden = self.wide * a.hidden
        if a.head_dropout:
            hidden += (self.wide + self._noise(a.head_dropout)) * a.hidden
        if a.likelihood == "logistic_mixture":
            said = a.components * (3 + MIXTURE_COPIES[a.recent > 0])
        elif a.likelihood == "mean_square":
            said = 3
        else:
            said = a.levels * (3 + (LOGISTIC_COPIES if a.recent else 0))
        return hidden + FULL * said + self.wide * a.width
