import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.network import LatentTransformer
from model.targets import Targets
from scaling.training.worker_usage import OperationCounter
from tests.helpers.architectures import small


def test_the_operation_counter_equals_torchs():
    architecture, targets = small(recent=64), Targets("last", 500)
    network = LatentTransformer(architecture)
    network.in_groups = False
    window = torch.randint(0, 256, (2, targets.samples(5, architecture)), dtype=torch.uint8)

    def step():
        network(window, targets)[0].backward()

    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as torchs:
            step()
        with OperationCounter() as ours:
            step()
    assert ours.operations == torchs.get_total_flops() > 0


def test_the_cpus_fused_attention_counts_as_the_plain_products_and_its_scores_again():
    query, key, value = torch.randn(3, 2, 4, 8, 16).requires_grad_().unbind()

    def attend():
        functional.scaled_dot_product_attention(query, key, value).sum().backward()

    found = {}
    for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel(backend), OperationCounter() as counter:
            attend()
        found[backend] = counter.operations
    scores = 2 * 2 * 4 * 8 * 8 * 16
    assert found[SDPBackend.MATH] == 6 * scores
    assert found[SDPBackend.FLASH_ATTENTION] == 7 * scores


def test_nothing_is_counted_before_it_is_entered_or_after():
    left, right = torch.ones(3, 4), torch.ones(4, 5)
    counter = OperationCounter()
    left @ right
    with counter:
        left @ right
    left @ right
    assert counter.operations == pytest.approx(2 * 3 * 4 * 5)
