"""Continuations of a prompt, code by code."""

from collections.abc import Iterator

import torch
from torch import Tensor

from model.network import LatentTransformer
from model.recorded import RecordedStep, Step, compiled_step
from model.sampling import Sampling, Uniforms, draw
from model.streams import Streams


def generate(
    network: LatentTransformer,
    prompt_S: Tensor,
    sampling: Sampling,
    seed: int,
    batch: int = 1,
    compiled: bool = False,
) -> Iterator[Tensor]:
    """Codes (B,) of ``batch`` continuations of a prompt (S,), step after step, without end.

    Continuation b depends on (seed, b) alone. On a GPU the step is recorded; on a CPU ``compiled``
    asks for a compiled one. ValueError where the prompt is shorter than a chunk.
    """
    streams = Streams(network, prompt_S.expand(batch, -1))
    uniforms = Uniforms(seed, batch)
    logits_BQ, device = streams.logits_BQ, streams.logits_BQ.device
    step: Step = streams.step
    if device.type == "cuda":
        step = RecordedStep(streams)
    elif compiled:
        step = compiled_step(streams)
    while True:
        with torch.no_grad():
            codes_B = draw(logits_BQ, uniforms.step().to(device), sampling)
        yield codes_B
        logits_BQ = step(codes_B)
