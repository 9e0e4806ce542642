"""A shape to its model, with how fast each part of it learns."""

from torch import nn

from model.architecture import Architecture, Shape
from model.baselines.sequence import SequenceModel
from model.linear import LinearPrediction
from model.network import LatentTransformer

Model = LatentTransformer | SequenceModel


def build(shape: Shape, prediction: LinearPrediction | None = None) -> Model:
    """The model of this shape, its weights drawn by torch's seed.

    A recent-sample path begins with the linear ``prediction``.
    """
    if isinstance(shape, Architecture):
        return LatentTransformer(shape, prediction)
    return SequenceModel(shape)


def parameter_groups(model: nn.Module) -> dict[float, list[nn.Parameter]]:
    """The trainable parameters, by what multiplies the learning rate for them.

    A module whose parameters learn at another pace than the rest says so in ``learning_factors``.
    """
    factors = {
        id(getattr(module, name)): factor
        for module in model.modules()
        for name, factor in getattr(module, "learning_factors", {}).items()
    }
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    return groups
