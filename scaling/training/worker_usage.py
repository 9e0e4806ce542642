"""Use of a worker: floating-point operations and memory."""

import resource
from typing import Any

import psutil
import torch
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from scaling.training.torch_internals import EagerDispatchMode

# The registry has no formula for PyTorch's fused attention on CPUs.
ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"
FORWARD = getattr(torch.ops.aten, ATTENTION)
BACKWARD = getattr(torch.ops.aten, f"{ATTENTION}_backward")


class OperationCounter(EagerDispatchMode):
    """Counter of floating-point operations, by the formulas of PyTorch's registry.

    It counts in ``operations`` while it is entered, backward passes included; a multiply-add is 2.
    A fused attention kernel computes its scores again in the backward pass, which is counted.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = getattr(func, "overloadpacket", None)
        if packet in flop_registry:
            self.operations += flop_registry[packet](*args, **(kwargs or {}), out_val=result)
        elif packet is FORWARD:
            self.operations += sdpa_flop_count(*(tensor.shape for tensor in args[:3]))
        elif packet is BACKWARD:
            self.operations += sdpa_backward_flop_count(*(tensor.shape for tensor in args[:4]))
        return result


def bytes_held() -> int:
    """Return the bytes allocated by torch on the GPU, or the resident memory without a GPU."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return int(psutil.Process().memory_info().rss)


def peak_bytes_held() -> int:
    """Return the largest :func:`bytes_held` since the process began."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
