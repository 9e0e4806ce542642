"""Small networks, windows and signals for the tests of the model."""

import gc

import pytest
import torch
from torch.nn import Parameter

from model.linear import LinearPrediction
from model.network import LatentTransformer
from tests.helpers.architectures import small


def signal_of(length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (length,), dtype=torch.uint8, generator=generator)


def blocks_of(codes, sizes):
    """Return the signal in blocks of these sizes, repeated."""
    blocks, begin, number = [], 0, 0
    while begin < len(codes):
        size = sizes[number % len(sizes)]
        blocks.append(codes[begin : begin + size])
        begin, number = begin + size, number + 1
    return blocks


def contexts_of(targets, positions, architecture):
    """Return the context in samples of the targets at each position."""
    if targets.mode == "last":
        return [targets.history(architecture)] * positions
    return [(k % architecture.latents + 1) * architecture.chunk for k in range(positions)]


def live_elements():
    """Count the bytes of all live tensors, each storage once.

    Fake tensors, of which the compiler keeps only the shape, have no storage.
    """
    gc.collect()
    tensors = [found for found in gc.get_objects() if type(found) in (torch.Tensor, Parameter)]
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in tensors}
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


PREDICTION = LinearPrediction([1.5, -0.7, *[0.01] * 30], 2.0, 5.0)
CAUSAL = "causal"


def network_of(dtype=torch.float64, **changes):
    """Return a small network with a nonzero head, so that every part affects the output."""
    torch.manual_seed(0)
    network = LatentTransformer(small(**changes), PREDICTION).to(dtype)
    torch.nn.init.normal_(network.head.output.weight)
    return network


def window_of(network, targets, positions, batch=2, seed=0):
    length = targets.samples(positions, network.architecture)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, length), dtype=torch.uint8, generator=generator)


TINY = {"chunk": 40, "context": 120, "filters": (6, 5), "strides": (2, 3)}
MODELS = [{}, {"head_size": 6}, {"attention": CAUSAL}]
MODEL_NAMES = ["plain", "folded", CAUSAL]
EVERY_MODEL = pytest.mark.parametrize("model", MODELS, ids=MODEL_NAMES)


def codes_of(batch, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, length), dtype=torch.uint8, generator=generator)


def naive_logits(network, codes_BS):
    """Return logits (B, Q) after a whole sequence that begins with the prompt's newest L codes."""
    a = network.eval().architecture
    chunks = codes_BS.shape[1] // a.chunk
    if not network.transformer.causal:
        chunks = min(chunks, a.latents)
    latents_BND = network.encoder(codes_BS[:, -chunks * a.chunk :].unflatten(1, (chunks, a.chunk)))
    if network.transformer.causal:
        read_BD = network.transformer.states(latents_BND)[-1][:, -1]
    else:
        read_BD = network.transformer.newest_output(latents_BND)
    recent = network.recent_output(codes_BS[:, -a.recent :]) if a.recent else None
    return network.head(read_BD, recent).detach()
