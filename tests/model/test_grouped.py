import torch

from model.grouped_mean import grouped_mean


def test_the_mean_in_groups_and_its_gradients_are_those_of_one_graph():
    torch.manual_seed(0)
    weight = torch.randn(4, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(10, 3, 4, dtype=torch.float64, requires_grad=True)
    constant = torch.randn(10, 3, dtype=torch.float64)
    twice = 2 * weight

    def losses_of(parts):
        own, fixed = parts
        return (own @ twice - fixed).square()

    expected = losses_of([inputs, constant])
    wanted = torch.autograd.grad(3 * expected.mean(), [weight, inputs], retain_graph=True)
    for size in (1, 4, 10):
        mean, losses = grouped_mean(losses_of, [inputs, constant], [twice], size)
        torch.testing.assert_close(losses, expected.detach(), rtol=0, atol=1e-12)
        assert not losses.requires_grad
        found = torch.autograd.grad(3 * mean, [weight, inputs], retain_graph=True)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_tensors_without_gradients_get_none():
    frozen = torch.randn(4, dtype=torch.float64)
    inputs = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    mean, _ = grouped_mean(lambda parts: parts[0] @ frozen, [inputs], [frozen], 2)
    (gradient,) = torch.autograd.grad(mean, [inputs])
    torch.testing.assert_close(gradient, frozen.expand(6, 4) / 6)
