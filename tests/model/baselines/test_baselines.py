"""Properties of every baseline."""

import copy

import pytest
import torch

from tests.helpers.baselines import NETWORKS, codes_of, stepped


@NETWORKS
@torch.no_grad()
def test_a_copied_state_is_independent(network_of):
    network = network_of()
    codes = codes_of(30)
    state = network.start(2)
    for codes_B in codes.T:
        _, state = network.step(state, codes_B)
    kept = copy.deepcopy(state)
    once, _ = network.step(state, codes[:, 0])
    again, _ = network.step(kept, codes[:, 0])
    assert torch.equal(once, again)


@NETWORKS
@torch.no_grad()
def test_a_signal_of_a_batch_does_not_see_the_others(network_of):
    network = network_of()
    codes = codes_of(50, batch=3)
    other = codes.clone()
    other[1] = codes_of(50, batch=1)[0]
    for logits_of in (network, lambda codes_BT: stepped(network, codes_BT)):
        before, after = logits_of(codes), logits_of(other)
        torch.testing.assert_close(after[::2], before[::2], rtol=0, atol=1e-12)
        assert (after[1] - before[1]).abs().max() > 1e-3


@NETWORKS
@torch.no_grad()
def test_codes_may_be_bytes(network_of):
    network = network_of(torch.float32)
    codes = codes_of(30)
    assert torch.equal(network(codes.to(torch.uint8)), network(codes))


@NETWORKS
@pytest.mark.parametrize("samples", [0, 1, 15, 16, 48, 100, 1_100])
@torch.no_grad()
def test_parallel_reading_ends_in_the_state_of_single_steps(network_of, samples):
    network = network_of()
    codes, more = codes_of(samples), codes_of(30)
    primed, state = network.prime(codes)
    slow = network.start(2)
    for codes_B in [torch.full_like(more[:, 0], network.architecture.start_code), *codes.T]:
        logits, slow = network.step(slow, codes_B)
    torch.testing.assert_close(primed, logits, rtol=0, atol=1e-8)
    for codes_B in more.T:
        primed, state = network.step(state, codes_B)
        logits, slow = network.step(slow, codes_B)
        torch.testing.assert_close(primed, logits, rtol=0, atol=1e-8)
