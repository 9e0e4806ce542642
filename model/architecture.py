"""Numbers of the latent Transformer, and the architectures of all models by name: no torch.

The defaults are the model of Verma 2022 (arXiv 2206.08297), in the one reading whose parameter
count is the paper's. ``docs/model.md`` lists what the paper leaves open.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, get_args

from model.baselines.shapes import SampleRNNArchitecture, SaShiMiArchitecture, WaveNetArchitecture

LINEAR_ORDER = 32
"""Samples that the linear predictor reads: the order of the AR(32) reference."""

Likelihood = Literal["categorical", "logistic_mixture", "mean_square"]

MOST_LOGITS = 256
"""Most levels that get a logit each: with more, nearly every code would be new to the model."""

RECENT_CHANNELS = 3
RECENT_KERNEL = 7
RECENT_STRIDES = (2, 2)


def convolved_lengths(length: int, kernel: int, strides: Sequence[int]) -> tuple[int, ...]:
    """Return the positions before and after each of several convolutions without padding."""
    lengths = [length]
    for stride in strides:
        lengths.append((lengths[-1] - kernel) // stride + 1)
    return tuple(lengths)


def shortest_input(kernel: int, strides: Sequence[int]) -> int:
    """Return the fewest positions from which these convolutions compute an output."""
    shortest = 1
    for stride in reversed(strides):
        shortest = (shortest - 1) * stride + kernel
    return shortest


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All numbers of a latent Transformer.

    context: samples before the target that the model reads (L).
    chunk: samples of one latent (C).
    filters: output channels of each of the encoder's convolutions, from the samples on.
    kernel: taps of each of the encoder's convolutions.
    strides: positions between two outputs of each of the encoder's convolutions.
    width: channels of a latent (D).
    layers: layers of the Transformer.
    heads: attention heads of a layer (H).
    head_size: channels of a head (K).
    feed_forward: hidden width of a layer's feed-forward block.
    attention: ``bidirectional`` (the paper), or ``causal``: a latent attends to the newest N up to
        itself.
    hidden: width of the head's hidden layer.
    levels: classes of the quantiser (Q).
    likelihood: distribution of the next code: a logit for each code (``categorical``, the paper),
        ``logistic_mixture``, or one value (``mean_square``). See :mod:`model.likelihood`.
    components: logistic distributions of a mixture (J).
    dropout: dropout probability in the Transformer's residual branches and attention.
    encoder_dropout: dropout probability after each of the encoder's convolutions.
    head_dropout: dropout probability in the head's hidden layer.
    token_drop: probability that a latent other than the newest is replaced by zeros, before each
        layer.
    recent: newest samples that reach the head directly (R); 0 is the paper.
    recent_filters: filters of the recent-sample path's two convolutions.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["latent"] = "latent"
    context: int = 128_000
    chunk: int = 2_000
    filters: tuple[int, ...] = (256, 256, 128, 128, 32)
    kernel: int = 7
    strides: tuple[int, ...] = (2, 3, 2, 3, 2)
    width: int = 128
    layers: int = 3
    heads: int = 8
    head_size: int = 128
    feed_forward: int = 256
    attention: Literal["bidirectional", "causal"] = "bidirectional"
    hidden: int = 1_024
    levels: int = 256
    likelihood: Likelihood = "categorical"
    components: int = 10
    dropout: float = 0.1
    encoder_dropout: float = 0.2
    head_dropout: float = 0.2
    token_drop: float = 0.1
    recent: int = 0
    recent_filters: int = 32

    @property
    def latents(self) -> int:
        """Latents in a context (N)."""
        return self.context // self.chunk

    @property
    def latents_are_keys(self) -> bool:
        """True if attention uses the latents themselves, without projections, as keys and values.

        A causal model always does, because it caches them. A bidirectional model does if that takes
        fewer products: ``2 H D^2`` a latent, against ``4 H K D``.
        """
        return self.attention == "causal" or self.width < 2 * self.head_size

    @property
    def encoder_lengths(self) -> tuple[int, ...]:
        """Positions before and after each convolution of one chunk: ``(C, ..., last)``."""
        return convolved_lengths(self.chunk, self.kernel, self.strides)

    @property
    def recent_lengths(self) -> tuple[int, ...]:
        """Positions before and after each of the recent-sample path's two convolutions."""
        return convolved_lengths(self.recent - LINEAR_ORDER, RECENT_KERNEL, RECENT_STRIDES)

    @property
    def outputs(self) -> int:
        """Numbers that the head's last layer returns for each target.

        They are ``3 J`` for a mixture, 1 for ``mean_square``, and Q logits otherwise; a
        recent-sample path adds the shift and the stretch of its logistic distribution to the
        logits.
        """
        if self.likelihood == "logistic_mixture":
            return 3 * self.components
        if self.likelihood == "mean_square":
            return 1
        return self.levels + (2 if self.recent else 0)

    def problems(self) -> list[str]:
        """Return one sentence for each reason why this architecture cannot be built."""
        sentences = [
            f"model.{field.name} is {value}: it must be 1 or more"
            for field in fields(self)
            if field.type is int
            and field.name != "recent"
            and (value := getattr(self, field.name)) < 1
        ]
        if sentences:
            return sentences
        if self.context % self.chunk:
            below = self.context // self.chunk * self.chunk
            allowed = f"{below} or {below + self.chunk}" if below else f"{self.chunk}"
            sentences.append(
                f"model.context is {self.context}, not a multiple of model.chunk = {self.chunk}: "
                f"write {allowed}"
            )
        if self.likelihood == "categorical" and self.levels > MOST_LOGITS:
            sentences.append(
                f"model.levels is {self.levels}, too many for a logit each (up to {MOST_LOGITS}): "
                "write model.likelihood=logistic_mixture, or mean_square"
            )
        sentences += self._encoder_problems()
        sentences += [
            f"model.{name} is {value}: write 0 or more, below 1"
            for name in ("dropout", "encoder_dropout", "head_dropout", "token_drop")
            if not 0 <= (value := getattr(self, name)) < 1
        ]
        if self.width % 2:
            sentences.append(
                f"model.width is {self.width}: write an even number, because sinusoidal positions "
                "are pairs of a sine and a cosine"
            )
        if self.recent and (self.recent_lengths[2] < 1 or self.recent > self.context):
            shortest = LINEAR_ORDER + shortest_input(RECENT_KERNEL, RECENT_STRIDES)
            sentences.append(
                f"model.recent is {self.recent}: write 0 (the paper), or {shortest} to "
                f"{self.context} samples"
            )
        return sentences

    def _encoder_problems(self) -> list[str]:
        if len(self.filters) != len(self.strides):
            return [
                f"model.filters has {len(self.filters)} numbers, model.strides "
                f"{len(self.strides)}: write one of each for every convolution"
            ]
        if min((*self.filters, *self.strides), default=0) < 1:
            return ["model.filters and model.strides: write one number of 1 or more a convolution"]
        if min(self.encoder_lengths) < 1:
            shortest = shortest_input(self.kernel, self.strides)
            return [
                f"model.chunk is {self.chunk}: the encoder's convolutions need {shortest} samples "
                "or more"
            ]
        return []


Baseline = WaveNetArchitecture | SampleRNNArchitecture | SaShiMiArchitecture
Shape = Architecture | Baseline

KINDS: dict[str, type[Shape]] = {shape.kind: shape for shape in get_args(Shape)}
"""Architecture of each ``model.kind``; :class:`Architecture` is the default."""
