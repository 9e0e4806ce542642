"""What the tests of the baselines share: codes, models of them, and networks fed one by one."""

import dataclasses

import pytest
import torch

from model.baselines.sequence import SequenceModel
from tests.helpers import small_samplernn, small_sashimi, small_wavenet


def codes_of(samples, batch=2, levels=256):
    """Random codes (batch, samples)."""
    return torch.randint(levels, (batch, samples))


def stepped(network, codes_BT):
    """The logits (B, T, Q) of codes that are fed one by one."""
    state = network.start(len(codes_BT))
    logits = []
    for codes_B in [torch.full_like(codes_BT[:, 0], network.start_code), *codes_BT.T[:-1]]:
        logits_BQ, state = network.step(state, codes_B)
        logits.append(logits_BQ)
    return torch.stack(logits, 1)


def model_of(network, **changes):
    """The network behind the interface of every model; ``changes`` are of its shape."""
    model = SequenceModel(dataclasses.replace(network.architecture, **changes))
    model.network = network
    return model


NETWORKS = pytest.mark.parametrize(
    "network_of",
    [small_samplernn.network_of, small_sashimi.network_of, small_wavenet.network_of],
    ids=["samplernn", "sashimi", "wavenet"],
)
