"""Codes, models and networks fed one code at a time, for tests of the baselines."""

import dataclasses

import pytest
import torch

from model.baselines.sequence import SequenceModel
from tests.helpers import small_samplernn, small_sashimi, small_wavenet


def codes_of(samples, batch=2, levels=256):
    """Return random codes (batch, samples)."""
    return torch.randint(levels, (batch, samples))


def stepped(network, codes_BT):
    """Return the logits (B, T, Q) of codes that are fed one at a time."""
    state = network.start(len(codes_BT))
    logits = []
    for codes_B in [torch.full_like(codes_BT[:, 0], network.start_code), *codes_BT.T[:-1]]:
        logits_BQ, state = network.step(state, codes_B)
        logits.append(logits_BQ)
    return torch.stack(logits, 1)


def model_of(network, **changes):
    """Build the network behind the interface of every model; ``changes`` apply to its shape."""
    model = SequenceModel(dataclasses.replace(network.architecture, **changes))
    model.network = network
    return model


NETWORKS = pytest.mark.parametrize(
    "network_of",
    [small_samplernn.network_of, small_sashimi.network_of, small_wavenet.network_of],
    ids=["samplernn", "sashimi", "wavenet"],
)
