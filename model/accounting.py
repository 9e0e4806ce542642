"""Parameters and floating-point operations of a model, by formula and by part.

Plain Python, so that planning needs no torch. Tests compare the parameter counts with the built
module, and the operations, forward and backward, with torch's own counter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul

from model.architecture import (
    LINEAR_ORDER,
    RECENT_CHANNELS,
    RECENT_KERNEL,
    RECENT_STRIDES,
    Architecture,
    Shape,
    convolved_lengths,
)
from model.targets import Targets


def parameters(shape: Shape) -> dict[str, int]:
    """Return the trainable parameters of each part of the model."""
    if not isinstance(shape, Architecture):
        return shape.parameters()
    a = shape
    inner = a.heads * a.head_size
    encoder = 0
    incoming = 1
    for filters in a.filters:
        encoder += a.kernel * incoming * filters + filters
        incoming = filters
    encoder += incoming * a.encoder_lengths[-1] * a.width + a.width
    attention = 3 * (a.width * inner + inner) + inner * a.width + a.width
    feed_forward = 2 * a.width * a.feed_forward + a.feed_forward + a.width
    counts = {
        "encoder": encoder,
        "transformer": a.layers * (attention + feed_forward + 4 * a.width),
        "head": a.width * a.hidden + a.hidden + a.hidden * a.outputs + a.outputs,
    }
    if a.likelihood == "mean_square" and not a.recent:
        counts["head"] += 1
    if a.recent:
        counts["recent"] = (
            RECENT_KERNEL * RECENT_CHANNELS * a.recent_filters
            + RECENT_KERNEL * a.recent_filters**2
            + 2 * a.recent_filters
            + a.recent_filters * a.recent_lengths[2] * a.width
            + a.width
        )
        counts["linear"] = LINEAR_ORDER + 2
    return counts


@dataclass(frozen=True)
class Passes:
    """Floating-point operations (2 a multiply-add) of a part, forward and backward."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """Operations of both passes."""
        return self.forward + self.backward


def training_operations(shape: Shape, targets: Targets, positions: int) -> dict[str, Passes]:
    """Return the operations of each part for one training window with this many positions.

    Matrix products and convolutions count, as in torch's counter: of causal attention both halves,
    even if a kernel skips one, but not what a fused kernel computes twice. The backward pass of a
    product takes two products of its size, one a factor (Kaplan et al. 2020, arXiv 2001.08361,
    section 2.1). It takes one if a factor is codes, which have no gradient.
    """
    if not isinstance(shape, Architecture):
        samples = targets.samples(positions, shape)
        parts = shape.operations_by_part(samples)
        return {part: Passes(value, 2 * value) for part, value in parts.items()}
    return {
        part: Passes(2.0 * sum(products), 2.0 * (2 * sum(products) - of_codes))
        for part, (products, of_codes) in _multiply_adds(shape, targets, positions).items()
    }


def forward_operations(
    architecture: Architecture, targets: Targets, positions: int
) -> dict[str, float]:
    """Return the forward operations of each part for one window with this many positions."""
    passes = training_operations(architecture, targets, positions)
    return {part: both.forward for part, both in passes.items()}


def _multiply_adds(
    a: Architecture, targets: Targets, positions: int
) -> dict[str, tuple[list[int], int]]:
    """Return the forward multiply-adds of each part by layer, and those that multiply codes."""
    count = positions * targets.phases
    convolutions = ConvolutionCount((1, *a.filters), a.kernel, a.strides, a.chunk, a.width)
    runs, read, _ = encoder_runs(convolutions, targets, positions, a)
    layers = convolutions.products() if targets.phases == 1 else convolutions.dense_products(read)
    encoder = [runs * products for products in layers]
    attention, feed_forward = _transformer(a, targets, count)
    parts = {
        "encoder": (encoder, encoder[0]),
        "attention": ([attention], 0),
        "feed_forward": ([feed_forward], 0),
        "head": ([count * a.width * a.hidden, count * a.hidden * a.outputs], 0),
    }
    if a.recent:
        stack = recent_stack(a)
        if targets.phases > 1:
            strips, seen = recent_strips(targets, positions, a)
            recent = stack.dense_products(seen - LINEAR_ORDER)
            linear = strips * LINEAR_ORDER * (seen - LINEAR_ORDER + 1)
        else:
            strips, recent = count, stack.products()
            linear = count * LINEAR_ORDER * (a.recent_lengths[0] + 1)
        # The path reads the predictor's errors, whose gradient the predictor's weights need.
        parts["recent"] = ([strips * products for products in recent], 0)
        parts["linear"] = ([linear], linear)
    return parts


class ConvolutionCount:
    """Multiply-adds and outputs of :class:`model.convolutions.Convolutions`."""

    def __init__(
        self, channels: Sequence[int], kernel: int, strides: Sequence[int], length: int, width: int
    ) -> None:
        self.pairs = list(pairwise(channels))
        self.kernel = kernel
        self.strides = strides
        self.lengths = convolved_lengths(length, kernel, strides)
        self.projection = channels[-1] * self.lengths[-1] * width

    def products(self) -> list[int]:
        """Return the multiply-adds for one run, by layer, the projection last."""
        layers = zip(self.pairs, self.outputs(), strict=True)
        return [*(self.kernel * f * output for (f, _), output in layers), self.projection]

    def outputs(self) -> list[int]:
        """Return the numbers that each convolution outputs for one run."""
        return [g * length for (_, g), length in zip(self.pairs, self.lengths[1:], strict=True)]

    def dense_products(self, signal: int) -> list[int]:
        """Return the multiply-adds for the runs at every offset of a signal, by layer."""
        starts = signal - self.lengths[0] + 1
        layers = zip(self.pairs, self.dense_outputs(signal), strict=True)
        products = [self.kernel * f * output for (f, _), output in layers]
        return [*products, starts * self.projection]

    def dense_outputs(self, signal: int) -> list[int]:
        """Return the numbers that each convolution outputs for the runs at every offset."""
        dilations = [1, *accumulate(self.strides, mul)]
        length = signal - self.lengths[0] + 1 + (self.lengths[-1] - 1) * dilations[-1]
        outputs = []
        # From the last layer back: each needs as many positions as the next one reads.
        for (_, g), dilation in zip(reversed(self.pairs), reversed(dilations[:-1]), strict=True):
            outputs.append(g * length)
            length += (self.kernel - 1) * dilation
        return outputs[::-1]


def encoder_runs(
    convolutions: ConvolutionCount, targets: Targets, positions: int, a: Architecture
) -> tuple[int, int, list[int]]:
    """Return the runs of a window that the encoder reads, their samples, and its outputs."""
    signal = targets.samples(positions, a) - 1
    if targets.phases == 1:
        return signal // a.chunk, a.chunk, convolutions.outputs()
    runs, read = 1, signal
    if targets.is_read_in_strips(a.chunk, a):
        runs, read = positions, a.chunk + targets.phases - 1
    return runs, read, convolutions.dense_outputs(read)


def recent_stack(a: Architecture) -> ConvolutionCount:
    """Return the convolutions of the recent-sample path."""
    channels = (RECENT_CHANNELS, a.recent_filters, a.recent_filters)
    start = a.recent_lengths[0]
    return ConvolutionCount(channels, RECENT_KERNEL, RECENT_STRIDES, start, a.width)


def recent_strips(targets: Targets, positions: int, a: Architecture) -> tuple[int, int]:
    """Return the strips of a window that the recent-sample path reads, and their samples."""
    if targets.is_read_in_strips(a.recent, a):
        return positions, a.recent + targets.phases - 1
    return 1, (positions - 1) * a.chunk + targets.phases - 1 + a.recent


def _transformer(a: Architecture, targets: Targets, count: int) -> tuple[int, int]:
    """Return the multiply-adds of attention and of feed-forward blocks for a window's targets."""
    inner, attended = a.heads * a.head_size, a.heads * a.width
    last = targets.mode == "last"
    latents = targets.history(a) // a.chunk if last else a.latents
    if a.latents_are_keys:
        per_query = 2 * a.width * attended + 2 * latents * attended
        per_layer = latents * per_query
        per_last = per_query if last else per_layer
        folding = a.layers * 2 * inner * a.width**2
    else:
        per_layer = latents * (4 * a.width * inner + 2 * latents * inner)
        per_last = 4 * a.width * inner + 2 * latents * attended
        folding = 0
    if not last and count % latents:
        raise ValueError(f"{count} targets are not a multiple of a context's {latents} chunks")
    sequences, read = (count, 1) if last else (count // latents, latents)
    queries = (a.layers - 1) * latents + read
    feed_forward = sequences * queries * 2 * a.width * a.feed_forward
    return folding + sequences * ((a.layers - 1) * per_layer + per_last), feed_forward


def training_operations_per_target(
    shape: Shape, targets: Targets, positions: int
) -> tuple[float, float]:
    """Return the forward and backward operations a target: as trained, and naively.

    The naive way reads a window of the full context, or of the receptive field, for each target.
    """
    shared = _total(training_operations(shape, targets, positions))
    if isinstance(shape, Architecture):
        alone = _total(training_operations(shape, naive_targets(shape), 1))
    else:
        alone = 3 * shape.operations(shape.receptive_field or shape.context)
    return shared / (positions * targets.phases), alone


def _total(parts: dict[str, Passes]) -> float:
    return sum(both.total for both in parts.values())


def naive_targets(architecture: Architecture) -> Targets:
    """Return the targets of a window with one target and its full context: the naive way."""
    return Targets("last", architecture.chunk)
