"""Every kind of model, built from its architecture, and the learning rates of its parts."""

import pytest
import torch

from model.accounting import parameters
from model.architecture import KINDS
from model.build import build, parameter_groups
from model.targets import Targets
from tests.helpers import small_samplernn, small_sashimi, small_wavenet
from tests.helpers.architectures import small

SHAPES = {
    "latent": small(recent=64),
    "wavenet": small_wavenet.small(context=30),
    "samplernn": small_samplernn.small(context=30),
    "sashimi": small_sashimi.small(context=30),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


@EVERY_KIND
def test_every_kind_is_built_from_its_shape_and_gives_the_nats_of_its_targets(kind):
    shape = SHAPES[kind]
    assert type(shape) is KINDS[kind]
    model = build(shape)
    assert model.architecture == shape
    targets = Targets("last", shape.chunk)
    window = torch.randint(256, (2, targets.samples(3, shape)))
    mean, each = model(window, targets)
    assert each.shape == (2, 3, 1)
    torch.testing.assert_close(mean.detach(), each.mean())
    assert model.logits(window, targets).shape == (2, 3, 1, 256)


@EVERY_KIND
def test_the_weights_are_those_of_torchs_seed(kind):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        built = build(SHAPES[kind])
        weights.append(torch.cat([weight.flatten() for weight in built.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@EVERY_KIND
def test_parameters_by_shape_are_the_trainable_ones_of_the_module(kind):
    trained = [weight for weight in build(SHAPES[kind]).parameters() if weight.requires_grad]
    assert sum(parameters(SHAPES[kind]).values()) == sum(weight.numel() for weight in trained)


@EVERY_KIND
def test_every_trainable_parameter_is_in_one_group_and_no_frozen_one_is(kind):
    model = build(SHAPES[kind])
    grouped = [id(weight) for group in parameter_groups(model).values() for weight in group]
    assert len(grouped) == len(set(grouped))
    named = dict(model.named_parameters())
    assert set(grouped) == {id(weight) for weight in named.values() if weight.requires_grad}
    frozen = {name.rpartition(".")[2] for name, weight in named.items() if not weight.requires_grad}
    assert frozen == ({"step_logarithm", "low_rank", "input"} if kind == "sashimi" else set())


@EVERY_KIND
def test_the_state_spaces_of_sashimi_learn_at_a_quarter_and_all_else_at_the_full_rate(kind):
    model = build(SHAPES[kind])
    factors = {
        id(weight): factor for factor, group in parameter_groups(model).items() for weight in group
    }
    slow = 0
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            is_slow = name.rpartition(".")[2] in ("decay", "frequency")
            assert factors[id(weight)] == (0.25 if is_slow else 1.0), name
            slow += is_slow
    # Two blocks at each of three rates, with two such parameters each.
    assert slow == (2 * 2 * 3 if kind == "sashimi" else 0)
