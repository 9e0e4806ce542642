"""A small SampleRNN."""

import torch

from model.baselines.samplernn import SampleRNN
from model.baselines.shapes import SampleRNNArchitecture


def small(**changes):
    """Return sizes that all differ, so that none can replace another: frames of 4, 12 and 24."""
    sizes = {"frame_sizes": (4, 3, 2), "width": 6, "embedding": 5, "truncation": 960}
    return SampleRNNArchitecture(**{**sizes, **changes})


def network_of(dtype=torch.float64, **changes):
    """Return a network whose weights, gains, biases and first hidden states are all nontrivial."""
    torch.manual_seed(0)
    network = SampleRNN(small(**changes)).to(dtype)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return network
