"""Architectures of the baselines, with their parameters and operations: no torch.

A baseline reads a sequence from silence and predicts every sample of it, so its chunk is one
sample.
"""

from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from math import log2, prod
from operator import mul
from typing import ClassVar, Literal

CODECS = ("mulaw", "linear")
PUBLISHED_CONTEXT = 131_072
"""Samples of the sequences on which the baselines were trained and scored (Goel et al. 2022)."""


@dataclass(frozen=True, kw_only=True)
class SequenceShape:
    """Fields and properties of all baselines.

    context: samples before a target that is scored from its full context (L), and of a training
        window unless ``windows.per_window`` overrides it.
    levels: classes of the quantiser (Q).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    chunk: ClassVar[int] = 1
    recent: ClassVar[int] = 0

    context: int = PUBLISHED_CONTEXT
    levels: int = 256

    @property
    def latents(self) -> int:
        """Chunks in a context (N): its samples."""
        return self.context

    @property
    def start_code(self) -> int:
        """Code before the first one: silence."""
        return self.levels // 2

    @property
    def receptive_field(self) -> int | None:
        """Samples before a target that its logits depend on; None if unbounded."""
        return None

    def problems(self) -> list[str]:
        """Return one sentence for each reason why this model cannot be built."""
        return [
            f"model.{field.name} is {value}: it must be 1 or more"
            for field in fields(self)
            if field.type is int and (value := getattr(self, field.name)) < 1
        ]

    def operations_by_part(self, samples: int) -> dict[str, float]:
        """Return the forward operations (2 a multiply-add) of each part for this many samples."""
        raise NotImplementedError

    def operations(self, samples: int) -> float:
        """Return the forward operations of all parts."""
        return sum(self.operations_by_part(samples).values())


@dataclass(frozen=True, kw_only=True)
class WaveNetArchitecture(SequenceShape):
    """All numbers of WaveNet; the defaults are the model of 4.24 M parameters.

    blocks: times that the dilations start again from 1.
    layers: layers of a block, of dilations 1, 2, 4, ...
    embedding: width of a code's embedding.
    residual: channels that the layers read and add to.
    gate: channels of the gated convolution.
    skip: channels of the sum of the skip connections; 512 is the model of 2.67 M.
    end: channels between the last two convolutions.

    A small one: ``embedding=32, residual=24, gate=24, skip=96, end=64`` has 304,960 parameters.
    """

    kind: Literal["wavenet"] = "wavenet"
    blocks: int = 4
    layers: int = 10
    embedding: int = 256
    residual: int = 64
    gate: int = 64
    skip: int = 1024
    end: int = 512

    @property
    def receptive_field(self) -> int:
        """Samples before a target that its logits depend on: the newest, and every dilation."""
        return 1 + self.blocks * ((1 << self.layers) - 1)

    def parameters(self) -> dict[str, int]:
        """Return the trainable parameters of each part of the model."""
        return {
            "embedding": self.levels * self.embedding,
            "entry": self.embedding * self.residual,
            "blocks": self.blocks * self.layers * self._layer_weights,
            "end": (self.skip + 1) * self.end + (self.end + 1) * self.levels,
            "head": (self.levels + 1) * self.levels,
        }

    def operations_by_part(self, samples: int) -> dict[str, float]:
        """Return the forward operations (2 a multiply-add) of each part for this many samples."""
        products = {
            "entry": self.embedding * self.residual,
            "blocks": self.blocks * self.layers * self._layer_weights,
            "end": self.skip * self.end + self.end * self.levels,
            "head": self.levels**2,
        }
        return {part: 2.0 * samples * value for part, value in products.items()}

    @property
    def _layer_weights(self) -> int:
        return 4 * self.residual * self.gate + self.gate * (self.residual + self.skip)


@dataclass(frozen=True, kw_only=True)
class SampleRNNArchitecture(SequenceShape):
    """All numbers of SampleRNN; the defaults are the model of 35.03 M parameters.

    frame_sizes: samples of the shortest frame, then how many frames of a tier make one of the next
        tier: 8, 2, 2 are frames of 8, 16 and 32 samples.
    width: channels of every tier and of the samples' network (D).
    embedding: width of a code's embedding (E).
    codec: of the codes, "mulaw" or "linear": frames are read as amplitudes.
    truncation: samples of the pieces that a sequence is trained in. The hidden state is carried
        between pieces, gradients are not.

    A small one: ``width=88, embedding=32`` has 302,712 parameters.
    """

    kind: Literal["samplernn"] = "samplernn"
    frame_sizes: tuple[int, ...] = (8, 2, 2)
    width: int = 1024
    embedding: int = 256
    codec: Literal["mulaw", "linear"] = "mulaw"
    truncation: int = 1_024

    @property
    def frames(self) -> tuple[int, ...]:
        """Samples of each tier's frame, from the shortest up."""
        return tuple(accumulate(self.frame_sizes, mul))

    @property
    def lookback(self) -> int:
        """Samples of the longest frame."""
        return prod(self.frame_sizes)

    def problems(self) -> list[str]:
        """Return one sentence for each reason why this architecture cannot be built."""
        sentences = super().problems()
        if min(self.frame_sizes, default=0) < 1:
            sentences.append(f"model.frame_sizes is {self.frame_sizes}: write sizes of 1 or more")
        if self.codec not in CODECS:
            sentences.append(f"model.codec is {self.codec!r}: write one of {', '.join(CODECS)}")
        if not sentences and self.truncation % self.lookback:
            whole = -(-self.truncation // self.lookback) * self.lookback
            sentences.append(
                f"model.truncation is {self.truncation}, not a multiple of the {self.lookback} "
                f"samples of the longest frame: write {whole}"
            )
        return sentences

    def parameters(self) -> dict[str, int]:
        """Return the trainable parameters of each part of the model."""
        d = self.width
        tiers = sum(
            frame * d + 2 * d  # a gain and a bias for each row
            + 6 * d * d + 6 * d + d  # three gates with two biases each, and the first hidden state
            + size * d * (d + 1) + d  # a gain for each column
            for frame, size in zip(self.frames, self.frame_sizes, strict=True)
        )  # fmt: skip
        return {
            "embedding": self.levels * self.embedding,
            "tiers": tiers,
            "read": self.embedding * self.frames[0] * d + d,
            "hidden": d * d + 2 * d,
            "head": (d + 2) * self.levels,
        }

    def operations_by_part(self, samples: int) -> dict[str, float]:
        """Return the forward operations (2 a multiply-add) of each part for this many samples.

        The samples are padded to whole frames of the longest tier.
        """
        d = self.width
        samples = -(-samples // self.lookback) * self.lookback
        tiers = zip(self.frames, self.frame_sizes, strict=True)
        products = {
            "tiers": sum(samples // frame * d * (frame + (6 + size) * d) for frame, size in tiers),
            "read": samples * d * self.embedding * self.frames[0],
            "hidden": samples * d * d,
            "head": samples * d * self.levels,
        }
        return {part: 2.0 * value for part, value in products.items()}


@dataclass(frozen=True, kw_only=True)
class SaShiMiArchitecture(SequenceShape):
    """All numbers of SaShiMi; the defaults are the paper's model of 3.13 M parameters.

    layers: pairs of an S4 and a feed-forward block, at each rate.
    width: channels at the rate of the samples (D).
    state: numbers of a channel's state (N).
    pools: samples that each pool joins, from the samples down.
    expand: factor of the width at each pool.
    feed_forward_expand: hidden width of a feed-forward block, in widths.

    Small ones: ``width=30, layers=2`` has 307,144 parameters, ``width=24, layers=3`` 276,364.
    """

    kind: Literal["sashimi"] = "sashimi"
    layers: int = 6
    width: int = 64
    state: int = 64
    pools: tuple[int, ...] = (4, 4)
    expand: int = 2
    feed_forward_expand: int = 2

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each rate, from the samples down."""
        return tuple(self.width * self.expand**rate for rate in range(len(self.pools) + 1))

    @property
    def stride(self) -> int:
        """Samples in a position of the slowest rate: 16 in the paper."""
        return prod(self.pools)

    def problems(self) -> list[str]:
        """Return one sentence for each reason why this architecture cannot be built."""
        sentences = super().problems()
        if self.state % 2:
            sentences.append(
                f"model.state is {self.state}: it must be even, since a state consists of "
                f"conjugate pairs; write {self.state + 1}"
            )
        if min(self.pools, default=1) < 1:
            sentences.append(f"model.pools is {self.pools}: write pools of 1 sample or more")
        return sentences

    def parameters(self) -> dict[str, int]:
        """Return the trainable parameters of each part of the model."""
        blocks = sum(
            d * self.state + self.state + d  # C, Lambda and D of the state space
            + d * d + d
            + 2 * self.feed_forward_expand * d * d + (self.feed_forward_expand + 1) * d
            + 4  # a scale and a shift for each of two norms
            for d in self.widths
        )  # fmt: skip
        pools = list(zip(self.pools, pairwise(self.widths), strict=True))
        return {
            "embedding": self.levels * self.width,
            # Weight norm adds one gain a row, as many as the bias has.
            "down": sum(pool * fast * slow + 2 * slow for pool, (fast, slow) in pools),
            "blocks": self.layers * blocks,
            "up": sum(pool * fast * (slow + 2) for pool, (fast, slow) in pools),
            "norm": 2 * self.width,
            "head": (self.width + 1) * self.levels,
        }

    def operations_by_part(self, samples: int) -> dict[str, float]:
        """Return the forward operations of each part, with Fourier transforms in the blocks."""
        parts = self._products_by_part(samples)
        return {**parts, "blocks": parts["blocks"] + self.transform_operations(samples)}

    def _products_by_part(self, samples: int) -> dict[str, float]:
        lengths = self._lengths(samples)
        blocks = pools = 0
        for length, d in zip(lengths, self.widths, strict=True):
            dense = (1 + 2 * self.feed_forward_expand) * d * d
            blocks += self.layers * (length * dense + d * kernel_products(length, self.state))
        rates = zip(self.pools, pairwise(self.widths), lengths[1:], strict=True)
        for pool, (fast, slow), length in rates:
            pools += (2 * length - 1) * pool * fast * slow
        head = 2.0 * samples * self.width * self.levels
        return {"blocks": 2.0 * blocks, "pools": 2.0 * pools, "head": head}

    def transform_operations(self, samples: int) -> float:
        """Return the operations of the Fourier transforms: three of 2 L real numbers a state space.

        They count as complex transforms of L numbers, ``5 L log2(2 L)``.
        """
        rates = zip(self._lengths(samples), self.widths, strict=True)
        return self.layers * sum(3 * d * 5 * length * log2(2 * length) for length, d in rates)

    def _lengths(self, samples: int) -> list[int]:
        """Return the positions at each rate, from the samples (padded to whole strides) down."""
        lengths = [-(-samples // self.stride) * self.stride]
        for pool in self.pools:
            lengths.append(lengths[-1] // pool)
        return lengths


def kernel_shape(samples: int) -> tuple[int, int]:
    """Return rows and columns of the matrix product that computes a kernel of this many samples."""
    columns = 1 << ((samples - 1).bit_length() + 1) // 2
    return -(-samples // columns), columns


def kernel_products(samples: int, state: int) -> int:
    """Return the multiply-adds of :meth:`StateSpace.kernel`'s matrix products, for a channel."""
    rows, columns = kernel_shape(samples)
    doublings = [(count - 1).bit_length() for count in (rows, columns)]
    vectors = sum((1 << doubled) - 1 for doubled in doublings)
    return state**2 * vectors + state**3 * sum(doublings) + rows * columns * state
