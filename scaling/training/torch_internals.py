"""Private parts of PyTorch 2.13 that Longwave needs, each with the public way that was tried.

Both keep PyTorch's compiler (``torch._dynamo``) out of a worker, whose import takes 1.5 CPU seconds
of each start on a quiet machine. No environment variable prevents that import.
"""

import inspect

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Adam(torch.optim.Adam):
    """PyTorch's Adam with the same steps on the same state.

    ``torch.optim.Adam`` itself imports the compiler to exclude these two methods from compilation.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class EagerDispatchMode(TorchDispatchMode):
    """Base of a mode that sees every operation, outside of compiled code.

    ``torch.utils.flop_counter.FlopCounterMode``, the public mode, tracks modules with hooks. Those
    fail if a forward pass takes gradients itself. For collectives, the public
    ``torch.distributed.tensor.debug.CommDebugMode`` counts calls and not bytes.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
