"""SampleRNN in pieces, and sample by sample."""

import math

import pytest
import torch
from torch.nn import functional
from torch.nn.utils import parametrize

from model.baselines.samplernn import SampleRNN
from tests.helpers.baselines import codes_of, stepped
from tests.helpers.small_samplernn import network_of, small


@torch.no_grad()
def test_any_length_gives_the_logits_of_a_longer_signal():
    network = network_of()
    codes = codes_of(60)
    whole = network(codes)
    for samples in (1, 2, 4, 23, 24, 25, 59):
        part = network(codes[:, :samples])
        assert part.shape == (2, samples, 256)
        torch.testing.assert_close(part, whole[:, :samples], rtol=0, atol=1e-12)


def test_pieces_in_turn_give_the_logits_and_the_gradients_of_the_whole():
    network = network_of()
    codes = codes_of(192)
    past, pieces = network.initial_past(2), []
    for piece in codes.split([24, 72, 48, 48], 1):
        logits, past = network.forward_from(past, piece)
        pieces.append(logits)
    whole, last = network.forward_from(network.initial_past(2), codes)
    torch.testing.assert_close(whole, network(codes), rtol=0, atol=0)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(past.hiddens, last.hiddens, rtol=0, atol=1e-12)
    assert torch.equal(past.recent, codes[:, -24:])
    weights = list(network.parameters())
    of_pieces = torch.autograd.grad(torch.cat(pieces, 1).square().mean(), weights)
    of_whole = torch.autograd.grad(whole.square().mean(), weights)
    torch.testing.assert_close(of_pieces, of_whole, rtol=0, atol=1e-12)


def test_a_detached_past_has_the_same_logits_and_ends_the_gradient():
    network = network_of()
    codes = codes_of(48)
    _, past = network.forward_from(network.initial_past(2), codes[:, :24])
    on, _ = network.forward_from(past, codes[:, 24:])
    ended, _ = network.forward_from(past.detached(), codes[:, 24:])
    assert torch.equal(on, ended)
    first = [tier.first for tier in network.tiers]
    assert all(gradient.any() for gradient in torch.autograd.grad(on.square().sum(), first))
    assert torch.autograd.grad(ended.sum(), first, allow_unused=True) == (None, None, None)


def test_a_piece_that_is_no_multiple_of_the_longest_frame_is_refused():
    network = network_of()
    with pytest.raises(ValueError, match="25 samples, not a multiple of the longest frame, 24"):
        network.forward_from(network.initial_past(2), codes_of(25))


@torch.no_grad()
@pytest.mark.parametrize("sizes", [{}, {"frame_sizes": (5,)}, {"frame_sizes": (8, 2, 2)}])
def test_step_by_step_gives_the_parallel_form(sizes):
    network = network_of(**sizes)
    codes = codes_of(130)
    torch.testing.assert_close(stepped(network, codes), network(codes), rtol=0, atol=1e-11)


@torch.no_grad()
def test_step_by_step_in_float32_stays_within_1e_4_of_the_parallel_form():
    network = network_of(torch.float32, frame_sizes=(8, 2, 2), width=24)
    codes = codes_of(300)
    parallel = network(codes)
    assert parallel.std() > 0.1
    torch.testing.assert_close(stepped(network, codes), parallel, rtol=0, atol=1e-4)


@torch.no_grad()
def test_weights_that_are_normed_once_give_the_same_steps():
    network = network_of()
    codes = codes_of(30)
    with parametrize.cached():
        once = stepped(network, codes)
    assert torch.equal(once, stepped(network, codes))


@torch.no_grad()
def test_a_state_does_not_grow_and_a_tier_moves_on_once_a_frame():
    network = network_of(torch.float32)
    state = network.start(3)
    moves = [0, 0, 0]
    for codes_B in codes_of(48, batch=3).T:
        before = list(state.past.hiddens)
        _, state = network.step(state, codes_B)
        for number, hidden_BD in enumerate(state.past.hiddens):
            moves[number] += hidden_BD is not before[number]
    assert moves == [12, 4, 2]
    assert state.clock == 48
    assert [hidden_BD.shape for hidden_BD in state.past.hiddens] == [(3, 6)] * 3
    assert [output.shape for output in state.conditioning] == [(3, size, 6) for size in (4, 3, 2)]
    assert state.past.recent.shape == (3, 24)


@torch.no_grad()
def test_bfloat16_autocast_stays_near_float32():
    network = network_of(torch.float32, width=24)
    codes = codes_of(100)
    exact = network(codes)
    with torch.autocast("cpu", torch.bfloat16):
        logits, fed = network(codes), stepped(network, codes)
    for near in (logits, fed):
        assert (near.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_few_steps_learn_a_sine_piece_by_piece():
    torch.manual_seed(0)
    network = SampleRNN(small(levels=16, width=24, embedding=8))
    time = torch.arange(192)[None] + torch.tensor([[0], [5]])
    codes = ((torch.sin(2 * math.pi * time / 24) + 1) * 7.99).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0)
    losses = []
    for _ in range(8):
        past = network.initial_past(2)
        for number, piece in enumerate(codes.split(48, 1)):
            logits, past = network.forward_from(past, piece)
            loss = functional.cross_entropy(logits.transpose(1, 2), piece)
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            # Only the first piece trains the first hidden states; the others start from detached
            # ones.
            still = {name for name, weight in network.named_parameters() if weight.grad is None}
            assert still == ({f"tiers.{tier}.first" for tier in range(3)} if number else set())
            optimizer.step()
            past = past.detached()
    assert losses[0] > 2.5
    assert losses[-1] < 0.5 * losses[0]
