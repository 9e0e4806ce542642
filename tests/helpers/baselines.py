"""Codes, models and step-by-step runs shared by the tests of the baselines."""

import dataclasses

import pytest
import torch

from model.baselines.sequence import SequenceModel
from tests.helpers import small_samplernn, small_sashimi, small_wavenet


def codes_of(samples, batch=2, levels=256):
    """Return random codes (batch, samples)."""
    return torch.randint(levels, (batch, samples))


def stepped(network, codes_BT):
    """Return the logits (B, T, Q) of codes that are read one by one."""
    state = network.start(len(codes_BT))
    logits = []
    for codes_B in [
        torch.full_like(codes_BT[:, 0], network.architecture.start_code),
        *codes_BT.T[:-1],
    ]:
        logits_BQ, state = network.step(state, codes_B)
        logits.append(logits_BQ)
    return torch.stack(logits, 1)


def model_of(network, **changes):
    """Return the network as a SequenceModel; ``changes`` apply to its architecture."""
    model = SequenceModel(dataclasses.replace(network.architecture, **changes))
    model.network = network
    return model


NETWORKS = pytest.mark.parametrize(
    "network_of",
    [small_samplernn.network_of, small_sashimi.network_of, small_wavenet.network_of],
    ids=["samplernn", "sashimi", "wavenet"],
)
