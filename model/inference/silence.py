"""The nats of every code of a signal that begins with silence: nothing before it is known.

A latent Transformer predicts a code from the chunks that end right before it, at most N of them and
at least one, of which the oldest may begin in the silence before the signal.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from model.activations import GROUPED_LATENTS
from model.baselines.sequence import SequenceModel
from model.inference.dense import SHARED_CONTEXTS, ReusedLayers, full_contexts
from model.network import LatentTransformer
from model.targets import Targets


@torch.no_grad()
def nats_from_silence(network: LatentTransformer | SequenceModel, codes_T: Tensor) -> Tensor:
    """The nats (T,) of all codes (T,) of a signal, whatever the model."""
    network.eval()
    if isinstance(network, SequenceModel):
        of_sequence: Tensor = network(codes_T[None], Targets("sequence", 1))[1]
        return of_sequence.flatten()
    a = network.architecture
    before = max(a.chunk, a.recent)
    known_1T = functional.pad(codes_T.long(), (before, 0), value=a.levels // 2)[None]
    latents_TD = network.encoder.dense(known_1T[:, before - a.chunk : -1])[0]
    # Phase by phase: code t is read from the latents t, t - C, t - 2C and so on.
    filled = functional.pad(latents_TD, (0, 0, 0, -len(codes_T) % a.chunk))
    latents_CMD = filled.unflatten(0, (-1, a.chunk)).transpose(0, 1)
    together = min(len(latents_CMD[0]), a.latents + SHARED_CONTEXTS - 1)
    size = max(1, GROUPED_LATENTS[codes_T.device.type] // together)
    layers = ReusedLayers(network.transformer, network.transformer.fold())
    parts = [list(_read(network, part, layers)) for part in latents_CMD.split(size)]
    read_CMD = torch.cat([torch.cat(pieces, 1) for pieces in parts])
    read_TD = read_CMD.transpose(0, 1).flatten(0, 1)[: len(codes_T)]
    recent = network.after_each(known_1T[:, before - a.recent : -1]) if a.recent else None
    said = network.head(read_TD[None], recent)
    return network.head.likelihood.nats(said, codes_T[None].long())[0]


def _read(
    network: LatentTransformer, latents_GMD: Tensor, layers: ReusedLayers
) -> Iterator[Tensor]:
    """What each of the latents of G phases (G, M, D) reads of those up to it, in pieces (G, m, D).

    In a causal model the first N are one pass; else each is a context of its own.
    """
    transformer, longest = network.transformer, network.architecture.latents
    first_GND = latents_GMD[:, :longest]
    if transformer.causal:
        yield transformer.states(first_GND, layers.folded)[-1]
    else:
        for end in range(1, first_GND.shape[1] + 1):
            yield transformer.newest(first_GND[:, :end], layers.folded)[:, None]
    for first in range(1, latents_GMD.shape[1] - longest + 1, SHARED_CONTEXTS):
        shared_GMD = latents_GMD[:, first : first + longest - 1 + SHARED_CONTEXTS]
        yield full_contexts(network, shared_GMD, layers)
