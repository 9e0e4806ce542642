"""Continuations of a prompt, code by code."""

from collections.abc import Iterator

import torch
from torch import Tensor

from model.baselines.sequence import SequenceModel, SequenceStreams
from model.build import Model
from model.inference.recorded import RecordedStep, Step, compiled_step
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
    said_BO, device = streams.said_BO, streams.said_BO.device
    step: Step = streams.step
    if isinstance(streams, Streams):
        if device.type == "cuda":
            step = RecordedStep(streams)
        elif compiled:
            step = compiled_step(streams)
    while True:
        with torch.no_grad():
            codes_B = network.draw(said_BO, uniforms.step().to(device), sampling)
            nats_B = network.cost(said_BO, codes_B)
        yield codes_B, nats_B
        said_BO = step(codes_B)
