import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.accounting import (
    forward_operations,
    naive_targets,
    parameters,
    training_operations_per_target,
)
from model.architecture import Architecture
from model.network import LatentTransformer
from model.targets import Targets
from tests.architectures import small


def test_the_papers_model_has_3108768_parameters():
    counts = parameters(Architecture())
    assert counts == {"encoder": 932_512, "transformer": 1_781_760, "head": 394_496}
    assert sum(counts.values()) == 3_108_768


@pytest.mark.parametrize(
    "architecture",
    [Architecture(), small(), small(recent=64), small(layers=1, chunk=1000, recent=128)],
)
def test_parameters_are_those_of_the_built_module(architecture):
    built = dict.fromkeys(parameters(architecture), 0)
    for name, parameter in LatentTransformer(architecture).named_parameters():
        built[name.partition(".")[0]] += parameter.numel()
    assert parameters(architecture) == built


FOLDED = {"head_size": 5}
CAUSAL = {"attention": "causal"}


@pytest.mark.parametrize(
    ("changes", "targets", "positions"),
    [
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
    ],
)
def test_operations_are_those_that_torch_counts(changes, targets, positions):
    architecture = small(**changes)
    network = LatentTransformer(architecture).eval()
    length = targets.samples(positions, architecture)
    window = torch.randint(0, 256, (1, length), dtype=torch.uint8)
    # The counter knows the products of attention, and not the CPU's fused kernel.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network.logits(window, targets)
    counted = counter.get_total_flops()
    formula = sum(forward_operations(architecture, targets, positions).values())
    assert formula == pytest.approx(counted, rel=0.01)


def test_training_costs_three_forward_passes_and_the_naive_way_a_window_for_each_target():
    architecture, targets = small(attention="causal"), Targets("chunks", 500)
    shared, naive = training_operations_per_target(architecture, targets, 8)
    forward = sum(forward_operations(architecture, targets, 8).values())
    assert shared == 3 * forward / 8
    alone = forward_operations(architecture, naive_targets(architecture), 1)
    assert naive == 3 * sum(alone.values())
