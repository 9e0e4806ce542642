import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.accounting import forward_operations, parameters, training_operations
from model.architecture import Architecture
from model.network import LatentTransformer
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


@pytest.mark.parametrize("targets", [1, 5])
@pytest.mark.parametrize("changes", [{}, {"layers": 1}, {"recent": 64}, {"chunk": 1000}])
def test_operations_are_those_that_torch_counts(changes, targets):
    architecture = small(**changes)
    network = LatentTransformer(architecture).eval()
    length = architecture.context + (targets - 1) * architecture.chunk + 1
    window = torch.randint(0, 256, (1, length), dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(window, architecture.chunk)
    counted = counter.get_total_flops()
    assert sum(forward_operations(architecture, targets).values()) == pytest.approx(
        counted, rel=0.01
    )


def test_training_costs_three_forward_passes():
    architecture = small()
    forward = sum(forward_operations(architecture, 4).values())
    assert training_operations(architecture, 4) == 3 * forward
