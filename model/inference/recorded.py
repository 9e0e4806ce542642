"""A step of continuations that starts nothing anew: a CUDA graph on a GPU, compiled on a CPU.

At a batch of one a step's products take less time than starting them does.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from model.inference.streams import Streams

WARM_UP = 3
Step = Callable[[Tensor], Tensor]


def compiled_step(streams: Streams) -> Step:
    """:meth:`Streams.step`, compiled for the CPU: some seconds once, and half the time a step.

    It needs a C++ compiler.
    """
    # The pattern for fused attention does not fit keys that all heads share.
    compute = torch.compile(streams.compute, dynamic=False, options={"pattern_matcher": False})

    def step(codes_B: Tensor) -> Tensor:
        streams.pushed += 1
        with torch.no_grad():
            said: Tensor = compute(codes_B, streams.full)
        return said

    return step


class RecordedStep:
    """:meth:`Streams.step` as a CUDA graph over the streams' own state.

    Warming up and recording run the step for real, so the state is put back after them.
    """

    def __init__(self, streams: Streams) -> None:
        self._codes_B = torch.zeros(streams.batch, dtype=torch.int64, device=streams.said_BO.device)
        saved = [tensor.clone() for tensor in streams.state]
        # On a side stream, as a graph's memory must not be that of the default one.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.no_grad():
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    streams.compute(self._codes_B, full=False)
            torch.cuda.current_stream().wait_stream(side)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                # Recorded once for all steps, so it looks how much of the context is there.
                self._said_BO = streams.compute(self._codes_B, full=False)
        for tensor, before in zip(streams.state, saved, strict=True):
            tensor.copy_(before)

    def __call__(self, codes_B: Tensor) -> Tensor:
        """What is said (B, O) of what follows, after the codes (B,)."""
        self._codes_B.copy_(codes_B)
        self._graph.replay()
        return self._said_BO.clone()
