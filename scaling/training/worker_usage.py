"""Floating-point operations as torch counts them while a block of work runs, backward included.

torch's own ``FlopCounterMode`` follows modules too, which does not go together with gradients that
are taken inside of a forward pass; this one only reads torch's table of formulas.
"""

import resource
from typing import Any

import psutil
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten


class OperationCounter(TorchDispatchMode):
    """Adds up in ``operations`` what is done while it is entered (2 for a multiply-add).

    A fused attention kernel computes its scores a second time in the backward pass; torch counts
    that.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing compiles what is counted: PyTorch would load its compiler to keep it away.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = getattr(func, "overloadpacket", None)
        if packet in flop_registry:
            self.operations += flop_registry[packet](*args, **(kwargs or {}), out_val=result)
        elif packet is aten._scaled_dot_product_flash_attention_for_cpu:
            self.operations += sdpa_flop_count(*(tensor.shape for tensor in args[:3]))
        elif packet is aten._scaled_dot_product_flash_attention_for_cpu_backward:
            self.operations += sdpa_backward_flop_count(*(tensor.shape for tensor in args[:4]))
        return result


def bytes_held() -> int:
    """Bytes now: what torch has allocated on the GPU, or the process's resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return int(psutil.Process().memory_info().rss)


def peak_bytes_held() -> int:
    """The most that :func:`bytes_held` was since the process began."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
