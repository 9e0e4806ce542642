"""Mean of many losses, with the autograd graph of only one group in memory.

The gradients of a group are computed right after its losses, and summed. Nothing is computed twice,
unlike with checkpointing: the mean and its gradients equal those of one graph over all losses.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

GroupLosses = Callable[[Sequence[Tensor]], Tensor]


def grouped_mean(
    losses_of: GroupLosses, grouped: Sequence[Tensor], shared: Sequence[Tensor], size: int
) -> tuple[Tensor, Tensor]:
    """Return the mean of all losses, differentiable once, and all losses (P, ...), detached.

    ``losses_of`` returns the losses (size, ...) of one group of the ``grouped`` tensors (P, ...).
    ``shared`` are the other tensors that it uses and that need gradients.
    """
    wanted = [tensor for tensor in shared if tensor.requires_grad]
    result: tuple[Tensor, Tensor] = _GroupedMean.apply(  # type: ignore[no-untyped-call]
        losses_of, size, len(grouped), *grouped, *wanted
    )
    return result


class _GroupedMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, losses_of: GroupLosses, size: int, number_grouped: int, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        grouped, shared = tensors[:number_grouped], tensors[number_grouped:]
        grouped_gradients = [
            torch.empty_like(tensor) if tensor.requires_grad else None for tensor in grouped
        ]
        shared_gradients = [torch.zeros_like(tensor) for tensor in shared]
        losses = []
        for start in range(0, len(grouped[0]), size):
            part = slice(start, start + size)
            leaves = [
                tensor[part].detach().requires_grad_(tensor.requires_grad) for tensor in grouped
            ]
            # Autocast would reuse casts from the previous group, whose graph no longer exists.
            torch.clear_autocast_cache()
            with torch.enable_grad():
                group = losses_of(leaves)
                wanted = [leaf for leaf in leaves if leaf.requires_grad]
                gradients = iter(
                    torch.autograd.grad(group.sum(), [*wanted, *shared], materialize_grads=True)
                )
            for gradient in grouped_gradients:
                if gradient is not None:
                    gradient[part] = next(gradients)
            for total, share in zip(shared_gradients, gradients, strict=True):
                total += share
            losses.append(group.detach())
        all_losses = torch.cat(losses)
        ctx.gradients = [*grouped_gradients, *shared_gradients]
        ctx.count = all_losses.numel()
        ctx.mark_non_differentiable(all_losses)
        return all_losses.mean(), all_losses

    @staticmethod
    def backward(
        ctx: Any, mean_gradient: Tensor, _losses_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        factor = mean_gradient / ctx.count
        gradients = [
            None if gradient is None else gradient.mul_(factor) for gradient in ctx.gradients
        ]
        ctx.gradients = None
        return None, None, None, *gradients
