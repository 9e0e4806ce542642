import pytest
import torch

from model.convolutions import Convolutions
from model.inference.streams import IncrementalConvolutions

STACKS = [
    pytest.param((1, 4, 3, 2), 7, (2, 3, 2), 90, id="2 3 2"),
    pytest.param((1, 4, 3, 2), 7, (2, 3, 2), 97, id="2 3 2, some left over"),
    pytest.param((3, 4, 4), 7, (2, 2), 32, id="the recent-sample path"),
    pytest.param((2, 3), 5, (1,), 20, id="no stride"),
    pytest.param((2, 3), 5, (4,), 5, id="one output"),
    pytest.param((1, 6, 5, 4, 3, 2), 7, (2, 3, 2, 3, 2), 343, id="the encoder"),
]


def stack_of(channels, kernel, strides, length, dtype=torch.float64):
    torch.manual_seed(0)
    return Convolutions(channels, kernel, strides, length, 5).to(dtype)


def signal_of(stack, batch, beyond=120):
    shape = (batch, stack.convolutions()[0].in_channels, stack.length + beyond)
    return torch.randn(shape, dtype=stack.projection.weight.dtype)


def pushed(stack, signal_BFT, first=0):
    """Return the outputs (B, T - length + 1, D) from the ``length``-th position on."""
    incremental = IncrementalConvolutions(stack, len(signal_BFT))
    outputs = [
        incremental.push(column, torch.tensor(first + number))
        for number, column in enumerate(signal_BFT.unbind(2))
    ]
    return torch.stack(outputs[stack.length - 1 :], 1)


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("channels", "kernel", "strides", "length"), STACKS)
def test_pushed_positions_give_the_dense_form_at_every_offset(
    channels, kernel, strides, length, batch
):
    stack = stack_of(channels, kernel, strides, length)
    signal = signal_of(stack, batch)
    found = pushed(stack, signal)
    assert found.shape == (batch, 121, 5)
    torch.testing.assert_close(found, stack.dense(signal), rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("first", [1, 17, 10_000])
def test_the_clock_may_start_anywhere(first):
    stack = stack_of((1, 4, 3), 7, (2, 3), 50)
    signal = signal_of(stack, 2)
    torch.testing.assert_close(pushed(stack, signal, first), pushed(stack, signal), rtol=0, atol=0)


@torch.no_grad()
def test_float32_stays_within_1e_5_of_the_dense_form():
    stack = stack_of((1, 4, 3, 2), 7, (2, 3, 2), 97, torch.float32)
    signal = signal_of(stack, 2)
    torch.testing.assert_close(pushed(stack, signal), stack.dense(signal), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_signal_of_a_batch_does_not_see_the_others():
    stack = stack_of((1, 4, 3), 7, (2, 3), 50)
    signal = signal_of(stack, 3)
    changed = signal.clone()
    changed[1] += 1
    before, after = pushed(stack, signal), pushed(stack, changed)
    assert torch.equal(after[::2], before[::2])
    assert not torch.equal(after[1], before[1])
