import re

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model import network as network_module
from model.accounting import (
    forward_operations,
    naive_targets,
    parameters,
    training_operations,
    training_operations_per_target,
)
from model.architecture import Architecture
from model.baselines.shapes import (
    SampleRNNArchitecture,
    SaShiMiArchitecture,
    WaveNetArchitecture,
)
from model.network import LatentTransformer
from model.targets import Targets
from scaling.training.worker_usage import OperationCounter
from tests.helpers.architectures import small


def test_the_papers_model_has_3108768_parameters():
    counts = parameters(Architecture())
    assert counts == {"encoder": 932_512, "transformer": 1_781_760, "head": 394_496}
    assert sum(counts.values()) == 3_108_768


@pytest.mark.parametrize(
    "architecture",
    [
        *(Architecture(), small(), small(recent=64), small(layers=1, chunk=1000, recent=128)),
        *(small(likelihood=kind) for kind in ("logistic_mixture", "mean_square")),
        *(small(likelihood=kind, recent=64) for kind in ("logistic_mixture", "mean_square")),
    ],
)
def test_parameters_are_those_of_the_built_module(architecture):
    built = dict.fromkeys(parameters(architecture), 0)
    for name, parameter in LatentTransformer(architecture).named_parameters():
        built[name.partition(".")[0]] += parameter.numel()
    assert parameters(architecture) == built


BASELINES = (WaveNetArchitecture(), SampleRNNArchitecture(), SaShiMiArchitecture())
FOLDED = {"head_size": 5}
CAUSAL = {"attention": "causal"}


CONFIGURATIONS = [
    *(
        (changes, Targets("last", chunk), positions)
        for changes, chunk in [
            ({}, 500),
            ({"layers": 1}, 500),
            ({"recent": 64}, 500),
            ({"chunk": 1000}, 1000),
            (FOLDED, 500),
            (CAUSAL, 500),
        ]
        for positions in (1, 5)
    ),
    ({**CAUSAL, "recent": 64}, Targets("chunks", 500), 8),
    (CAUSAL, Targets("samples", 500, 500), 4),
    ({**CAUSAL, "recent": 64}, Targets("samples", 500, 100), 4),
    ({"likelihood": "logistic_mixture", "levels": 65_536}, Targets("last", 500), 5),
    ({"likelihood": "mean_square", "recent": 64}, Targets("last", 500), 5),
]


def counted(work):
    """What torch counts of some work, with attention as plain products."""
    with OperationCounter() as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return counter.operations


def window_of(architecture, targets, positions):
    length = targets.samples(positions, architecture)
    return torch.randint(0, 256, (1, length), dtype=torch.uint8)


@pytest.mark.parametrize(("changes", "targets", "positions"), CONFIGURATIONS)
def test_operations_are_those_that_torch_counts(changes, targets, positions):
    architecture = small(**changes)
    network = LatentTransformer(architecture).eval()
    window = window_of(architecture, targets, positions)
    with torch.no_grad():
        found = counted(lambda: network.logits(window, targets))
    formula = sum(forward_operations(architecture, targets, positions).values())
    assert formula == pytest.approx(found, rel=0.01)


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize(("changes", "targets", "positions"), CONFIGURATIONS)
def test_backward_operations_are_those_that_torch_counts(
    changes, targets, positions, grouped, monkeypatch
):
    monkeypatch.setitem(network_module.GROUPED_LATENTS, "cpu", 8 if grouped else 10**9)
    architecture = small(**changes)
    network = LatentTransformer(architecture)
    window = window_of(architecture, targets, positions)
    found = counted(lambda: network(window, targets)[0].backward())
    parts = training_operations(architecture, targets, positions)
    assert sum(both.total for both in parts.values()) == pytest.approx(found, rel=0.01)


def test_each_part_costs_what_torch_counts_in_its_module():
    architecture, targets = small(recent=64), Targets("last", 500)
    network = LatentTransformer(architecture).eval()
    window = window_of(architecture, targets, 5)
    with (
        FlopCounterMode(display=False, depth=9) as counter,
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
    ):
        network(window, targets)
    found = {name: sum(count.values()) for name, count in counter.get_flop_counts().items()}
    parts = forward_operations(architecture, targets, 5)
    root = "LatentTransformer"
    assert parts["encoder"] == pytest.approx(found[f"{root}.encoder"], rel=0.01)
    assert parts["head"] == pytest.approx(found[f"{root}.head"], rel=0.01)
    layers = [f"{root}.transformer.layers.{number}" for number in range(2)]
    blocks = sum(found[f"{layer}.feed_forward"] for layer in layers)
    assert parts["feed_forward"] == pytest.approx(blocks, rel=0.01)
    attention = sum(found[f"{layer}.attention"] for layer in layers)
    assert parts["attention"] == pytest.approx(attention, rel=0.01)


def test_no_gradient_is_taken_of_codes():
    architecture, targets = small(attention="causal", recent=64), Targets("chunks", 500)
    parts = training_operations(architecture, targets, 8)
    for part in ("attention", "feed_forward", "head", "recent"):
        assert parts[part].backward == 2 * parts[part].forward
    assert parts["encoder"].forward < parts["encoder"].backward < 2 * parts["encoder"].forward
    assert parts["linear"].backward == parts["linear"].forward


def test_targets_that_fill_no_whole_contexts_have_no_count():
    """Otherwise the count would silently round down the operations of attention."""
    with pytest.raises(
        ValueError, match=re.escape("5 targets are not a multiple of a context's 4")
    ):
        forward_operations(small(attention="causal"), Targets("chunks", 500), 5)


def test_the_naive_way_costs_a_window_for_each_target():
    architecture, targets = small(attention="causal"), Targets("chunks", 500)
    shared, naive = training_operations_per_target(architecture, targets, 8)
    parts = training_operations(architecture, targets, 8)
    assert shared == sum(both.total for both in parts.values()) / 8
    alone = training_operations(architecture, naive_targets(architecture), 1)
    assert naive == sum(both.total for both in alone.values())


def test_a_baselines_operations_are_those_of_its_parts():
    for shape in BASELINES:
        parts = training_operations(shape, Targets("sequence", 1), 4_096)
        assert sum(both.forward for both in parts.values()) == shape.operations(4_096)
        assert all(both.backward == 2 * both.forward for both in parts.values())
        shared, _ = training_operations_per_target(shape, Targets("sequence", 1), 4_096)
        assert shared == pytest.approx(3 * shape.operations(4_096) / 4_096)
