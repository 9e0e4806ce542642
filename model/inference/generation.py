"""Continue a prompt, code by code."""

from collections.abc import Iterator

import torch
from torch import Tensor

from model.baselines.sequence import SequenceModel, SequenceStreams
from model.build import Model
from model.inference.compiled_step import CudaGraphStep, Step, compile_step
from model.inference.streams import Streams
from model.sampling import Sampling, Uniforms


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
