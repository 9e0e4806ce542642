"""What a model costs: parameters and floating-point operations, by formula and by part.

Plain Python, so that a plan needs no torch. The tests hold the parameter counts against the built
module and the operations against torch's own counter.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import mul

from model.architecture import (
    LINEAR_ORDER,
    RECENT_CHANNELS,
    RECENT_KERNEL,
    RECENT_STRIDE,
    Architecture,
    convolved,
)
from model.kinds import Shape
from model.targets import Targets


def parameters(shape: Shape) -> dict[str, int]:
    """Trainable parameters of each part of the model."""
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


def forward_operations(
    architecture: Architecture, targets: Targets, positions: int
) -> dict[str, float]:
    """Forward operations (2 a multiply-add) for one window with so many positions.

    Counts the matrix products and convolutions, as torch's counter does; of causal attention both
    halves, though a kernel may skip one.
    """
    a = architecture
    count = positions * targets.phases
    convolutions = _Convolutions((1, *a.filters), a.kernel, a.strides, a.chunk, a.width)
    multiply_adds = {
        "encoder": _encoder(convolutions, targets, positions, a),
        "transformer": _transformer(a, targets, count),
        "head": count * (a.width * a.hidden + a.hidden * a.outputs),
    }
    if a.recent:
        start = a.recent_lengths[0]
        channels = (RECENT_CHANNELS, a.recent_filters, a.recent_filters)
        convolutions = _Convolutions(channels, RECENT_KERNEL, [RECENT_STRIDE] * 2, start, a.width)
        if targets.phases > 1:
            strips, seen = 1, (positions - 1) * a.chunk + targets.phases - 1 + a.recent
            if targets.by_strips(a.recent, a):
                strips, seen = positions, a.recent + targets.phases - 1
            multiply_adds["recent"] = strips * convolutions.dense(seen - LINEAR_ORDER)
            multiply_adds["linear"] = strips * LINEAR_ORDER * (seen - LINEAR_ORDER + 1)
        else:
            multiply_adds["recent"] = count * convolutions.once()
            multiply_adds["linear"] = count * LINEAR_ORDER * (start + 1)
    return {part: 2.0 * value for part, value in multiply_adds.items()}


class _Convolutions:
    """Multiply-adds of :class:`model.convolutions.Convolutions`."""

    def __init__(
        self,
        channels: Sequence[int],
        kernel: int,
        strides: Sequence[int],
        length: int,
        width: int,
    ) -> None:
        self.pairs = list(pairwise(channels))
        self.kernel = kernel
        self.strides = strides
        self.lengths = [length]
        for stride in strides:
            self.lengths.append(convolved(self.lengths[-1], kernel, stride))
        self.projection = channels[-1] * self.lengths[-1] * width

    def once(self) -> int:
        """For one run."""
        layers = zip(self.pairs, self.lengths[1:], strict=True)
        convolutions = sum(self.kernel * f * g * length for (f, g), length in layers)
        return convolutions + self.projection

    def dense(self, signal: int) -> int:
        """For the runs at every offset of a signal of so many positions."""
        starts = signal - self.lengths[0] + 1
        dilations = [1, *accumulate(self.strides, mul)]
        length = starts + (self.lengths[-1] - 1) * dilations[-1]
        total = starts * self.projection
        # From the newest layer back: each needs as many positions as the next one sees.
        for (f, g), dilation in zip(reversed(self.pairs), reversed(dilations[:-1]), strict=True):
            total += self.kernel * f * g * length
            length += (self.kernel - 1) * dilation
        return total


def _encoder(convolutions: _Convolutions, targets: Targets, positions: int, a: Architecture) -> int:
    """Multiply-adds of the encoder for one window."""
    signal = targets.samples(positions, a) - 1
    if targets.phases == 1:
        return signal // a.chunk * convolutions.once()
    if targets.by_strips(a.chunk, a):
        return positions * convolutions.dense(a.chunk + targets.phases - 1)
    return convolutions.dense(signal)


def _transformer(a: Architecture, targets: Targets, count: int) -> int:
    """Multiply-adds of the Transformer for ``count`` targets of one window."""
    inner, attended = a.heads * a.head_size, a.heads * a.width
    feed_forward = 2 * a.width * a.feed_forward
    if a.latents_are_keys:
        per_query = 2 * a.width * attended + 2 * a.latents * attended + feed_forward
        per_layer = per_last = a.latents * per_query
        if targets.mode == "last":
            per_last = per_query
        folding = a.layers * 2 * inner * a.width**2
    else:
        per_layer = a.latents * (4 * a.width * inner + 2 * a.latents * inner + feed_forward)
        per_last = 4 * a.width * inner + 2 * a.latents * attended + feed_forward
        folding = 0
    sequences = count if targets.mode == "last" else count // a.latents
    return folding + sequences * ((a.layers - 1) * per_layer + per_last)


def training_operations_per_target(
    shape: Shape, targets: Targets, positions: int
) -> tuple[float, float]:
    """Forward and backward operations a target: as trained, and naively.

    The naive way takes a window of the full context for each target, or of the receptive field. The
    backward pass of a product costs two products of its size (Kaplan et al. 2020, arXiv 2001.08361,
    section 2.1).
    """
    if not isinstance(shape, Architecture):
        whole = shape.operations(targets.samples(positions, shape))
        return 3 * whole / positions, 3 * shape.operations(shape.receptive_field or shape.context)
    shared = sum(forward_operations(shape, targets, positions).values())
    alone = sum(forward_operations(shape, naive_targets(shape), 1).values())
    return 3 * shared / (positions * targets.phases), 3 * alone


def naive_targets(architecture: Architecture) -> Targets:
    """One target from one full context: what all else is held against."""
    return Targets("last", architecture.chunk)
