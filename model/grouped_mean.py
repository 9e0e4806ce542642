"""The mean of many losses in groups, with no more than one group's graph in memory.

Each group's gradients are taken as soon as its losses are known, and summed. Nothing is computed
twice, as checkpointing would: the result and its gradients are those of one graph over everything.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

GroupLosses = Callable[[Sequence[Tensor]], Tensor]


def grouped_mean(
    losses_of: GroupLosses, grouped: Sequence[Tensor], shared: Sequence[Tensor], size: int
) -> tuple[Tensor, Tensor]:
    """The mean of all losses, differentiable, and all losses (P, ...), detached.

    ``grouped`` tensors (P, ...) are cut into groups of ``size`` along their first axis, for each of
    which ``losses_of`` gives losses (size, ...); ``shared`` lists the tensors that it uses besides
    and that want gradients. The mean can be differentiated once.
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
        of_grouped = [
            torch.empty_like(tensor) if tensor.requires_grad else None for tensor in grouped
        ]
        of_shared = [torch.zeros_like(tensor) for tensor in shared]
        losses = []
        for start in range(0, len(grouped[0]), size):
            part = slice(start, start + size)
            leaves = [
                tensor[part].detach().requires_grad_(tensor.requires_grad) for tensor in grouped
            ]
            # Autocast would hand a group the casts of the one before, whose graph is gone.
            torch.clear_autocast_cache()
            with torch.enable_grad():
                group = losses_of(leaves)
                wanted = [leaf for leaf in leaves if leaf.requires_grad]
                found = iter(
                    torch.autograd.grad(group.sum(), [*wanted, *shared], materialize_grads=True)
                )
            for gradient in of_grouped:
                if gradient is not None:
                    gradient[part] = next(found)
            for total, share in zip(of_shared, found, strict=True):
                total += share
            losses.append(group.detach())
        every = torch.cat(losses)
        ctx.gradients = [*of_grouped, *of_shared]
        ctx.count = every.numel()
        ctx.mark_non_differentiable(every)
        return every.mean(), every

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, _of_losses: Tensor) -> tuple[Tensor | None, ...]:
        factor = of_mean / ctx.count
        gradients = [
            None if gradient is None else gradient.mul_(factor) for gradient in ctx.gradients
        ]
        ctx.gradients = None
        return None, None, None, *gradients
