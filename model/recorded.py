"""A step of continuations recorded once as a CUDA graph and replayed: no launches to wait for."""

import torch
from torch import Tensor

from model.streams import Streams

WARM_UP = 3


class RecordedStep:
    """:meth:`Streams.step` as a CUDA graph over the streams' own state.

    Warming up and recording run the step for real, so the state is put back after them.
    """

    def __init__(self, streams: Streams) -> None:
        self._codes_B = torch.zeros(
            streams.batch, dtype=torch.int64, device=streams.logits_BQ.device
        )
        saved = [tensor.clone() for tensor in streams.state]
        # On a side stream, as a graph's memory must not be that of the default one.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                streams.step(self._codes_B)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits_BQ = streams.step(self._codes_B)
        for tensor, before in zip(streams.state, saved, strict=True):
            tensor.copy_(before)

    def __call__(self, codes_B: Tensor) -> Tensor:
        """Logits (B, Q) of what follows, after the codes (B,)."""
        self._codes_B.copy_(codes_B)
        self._graph.replay()
        return self._logits_BQ.clone()
