"""Continuations of a prompt, code by code."""

from collections.abc import Iterator

import torch
from torch import Tensor

from model.baselines.sequence import SequenceModel, SequenceStreams
from model.build import Model
from model.compiled_step import CudaGraphStep, Step, compile_step
from model.sampling import Sampling, Uniforms
from model.streams import Streams


def generate(
    network: Model,
    prompt_S: Tensor,
    sampling: Sampling,
    seed: int,
    batch: int = 1,
    compiled: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Codes (B,) of ``batch`` continuations of a prompt (S,), step after step, without end.

    With them come their nats (B,) under the model's own distribution, whatever ``sampling`` made of
    it. Continuation b depends on (seed, b) alone. On a GPU a latent Transformer's step is recorded;
    on a CPU ``compiled`` asks for a compiled one. ValueError where the prompt is shorter than a
    chunk.
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
