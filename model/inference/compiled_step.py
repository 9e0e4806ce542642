"""A step of continuations without launch overhead: a CUDA graph on a GPU, compiled on a CPU.

At batch size 1, launching a step's operations takes longer than the operations themselves.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from model.inference.streams import Streams

WARM_UP = 3
Step = Callable[[Tensor], Tensor]


def compile_step(streams: Streams) -> Step:
    """Return :meth:`Streams.step`, compiled for the CPU.

    Compiling takes some seconds and a C++ compiler; a step then takes half the time.
    """
    # The pattern for fused attention does not fit keys that all heads share.
    compute = torch.compile(streams.compute, dynamic=False, options={"pattern_matcher": False})

    def step(codes_B: Tensor) -> Tensor:
        streams.pushed += 1
        with torch.no_grad():
            distribution: Tensor = compute(codes_B, streams.full)
        return distribution

    return step


class CudaGraphStep:
    """:meth:`Streams.step` as a CUDA graph over the streams' own state.

    Warm-up and capture execute the step, so the state is restored after them.
    """

    def __init__(self, streams: Streams) -> None:
        self._codes_B = torch.zeros(
            streams.batch, dtype=torch.int64, device=streams.distribution_BO.device
        )
        saved = [tensor.clone() for tensor in streams.state]
        # CUDA graphs must be warmed up on a stream other than the default one.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.no_grad():
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    streams.compute(self._codes_B, full=False)
            torch.cuda.current_stream().wait_stream(side)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                # One graph serves all steps, so the step must mask the part of the context that is
                # missing.
                self._distribution_BO = streams.compute(self._codes_B, full=False)
        for tensor, before in zip(streams.state, saved, strict=True):
            tensor.copy_(before)

    def __call__(self, codes_B: Tensor) -> Tensor:
        """Return the distribution (B, O) of the next code after the codes (B,)."""
        self._codes_B.copy_(codes_B)
        self._graph.replay()
        return self._distribution_BO.clone()
