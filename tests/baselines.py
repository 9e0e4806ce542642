"""What the tests of the baselines share: codes, and a network that is fed them one by one."""

import torch


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
