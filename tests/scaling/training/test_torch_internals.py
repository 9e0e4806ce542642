"""Contract with the private parts of PyTorch that `scaling.training.torch_internals` uses."""

import inspect

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from scaling.training.torch_internals import Adam, EagerDispatchMode


@pytest.mark.parametrize("name", ["step", "add_param_group"])
def test_pytorchs_adam_wraps_the_methods_that_ours_unwraps(name):
    theirs = getattr(torch.optim.Adam, name)
    assert inspect.unwrap(theirs) is not theirs
    assert inspect.unwrap(theirs).__name__ == name


def test_a_dispatch_mode_of_pytorch_asks_whether_to_skip_the_compiler():
    assert TorchDispatchMode._should_skip_dynamo() and not EagerDispatchMode._should_skip_dynamo()


def weights_after_steps(optimizer: type[torch.optim.Adam]) -> list[torch.Tensor]:
    """Return two weights after some steps, and the optimizer's averages of them."""
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(5, dtype=torch.float64)) for _ in range(2)]
    made = optimizer([{"params": weights[:1], "lr": 0.3}, {"params": weights[1:]}], lr=0.1)
    for _ in range(4):
        made.zero_grad()
        (weights[0].sin() * weights[1] ** 2).sum().backward()
        made.step()
    kept = [made.state[weight][name] for weight in weights for name in ("exp_avg", "exp_avg_sq")]
    return [*weights, *kept]


def test_it_takes_the_steps_of_pytorchs_own():
    for ours, theirs in zip(
        weights_after_steps(Adam), weights_after_steps(torch.optim.Adam), strict=True
    ):
        assert torch.equal(ours, theirs)
