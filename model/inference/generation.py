"""Continue a prompt, code by code, without launch overhead.

At batch size 1, launching a step's operations takes longer than the operations themselves: a step
is a CUDA graph on a GPU, and can be compiled on a CPU.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from model.baselines.sequence import SequenceModel, SequenceStreams
from model.build import Model
from model.inference.streams import Streams
from model.sampling import Sampling, Uniforms

WARM_UP = 3
Step = Callable[[Tensor], Tensor]


def compile_step(streams: Streams) -> Step:
    """Return :meth:`Streams.step`, compiled for the CPU (seconds): it then takes half the time."""
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


def generate(
    network: Model,
    prompt_S: Tensor,
    sampling: Sampling,
    seed: int,
    batch: int = 1,
    compiled: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the codes of ``batch`` continuations of a prompt, step by step, without end.

    Continuation b depends on (seed, b) alone. A latent Transformer's step is a CUDA graph on a GPU,
    and is compiled on the CPU if ``compiled``. ValueError if the prompt (S,) is too short.

    Yields:
        Codes (B,), and their nats (B,) under the model's own distribution, before ``sampling``.
    """
    prompt_BS = prompt_S.expand(batch, -1)
    streams = (
        SequenceStreams(network, prompt_BS)
        if isinstance(network, SequenceModel)
        else Streams(network, prompt_BS)
    )
    uniforms = Uniforms(seed, batch)
    distribution_BO, device = streams.distribution_BO, streams.distribution_BO.device
    step: Step = streams.step
    if isinstance(streams, Streams):
        if device.type == "cuda":
            step = CudaGraphStep(streams)
        elif compiled:
            step = compile_step(streams)
    while True:
        with torch.no_grad():
            codes_B = network.draw(distribution_BO, uniforms.step().to(device), sampling)
            nats_B = network.code_nats(distribution_BO, codes_B)
        yield codes_B, nats_B
        distribution_BO = step(codes_B)
