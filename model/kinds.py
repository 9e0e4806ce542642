"""The kinds of models that a run may train, by the name that a configuration gives them."""

from typing import get_args

from model.architecture import Architecture
from model.baselines.shapes import (
    SampleRNNArchitecture,
    SaShiMiArchitecture,
    SequenceShape,
    WaveNetArchitecture,
)

Baseline = WaveNetArchitecture | SampleRNNArchitecture | SaShiMiArchitecture
Shape = Architecture | Baseline

KINDS: dict[str, type[Shape]] = {shape.kind: shape for shape in get_args(Shape)}
"""The shape of each ``model.kind``; :class:`~model.architecture.Architecture` is the default."""


def is_sequence(shape: Shape) -> bool:
    """Whether the model reads sequences from silence, sample by sample, and no chunks."""
    return isinstance(shape, SequenceShape)
