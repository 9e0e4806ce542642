import torch

from scaling.engine import Adam


def trained(optimizer: type[torch.optim.Adam]) -> list[torch.Tensor]:
    """Two weights after some steps, and what the optimizer keeps of them."""
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
    for ours, theirs in zip(trained(Adam), trained(torch.optim.Adam), strict=True):
        assert torch.equal(ours, theirs)
