"""Build a model from its architecture, and group its parameters by learning rate."""

from torch import nn

from model.architecture import Architecture, Shape
from model.baselines.sequence import SequenceModel
from model.linear import LinearPrediction
from model.network import LatentTransformer

Model = LatentTransformer | SequenceModel


def build(shape: Shape, prediction: LinearPrediction | None = None) -> Model:
    """Return a model with random weights; a recent-sample path starts from the prediction."""
    if isinstance(shape, Architecture):
        return LatentTransformer(shape, prediction)
    return SequenceModel(shape)


def parameter_groups(model: nn.Module) -> dict[float, list[nn.Parameter]]:
    """Return the trainable parameters by the factor of their learning rate.

    A module lists the parameters whose factor is not 1 in its attribute ``learning_factors``.
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
