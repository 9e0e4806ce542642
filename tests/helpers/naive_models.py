"""Slow, obvious versions of the fast paths."""

import torch

from model.nats import nats
from model.targets import Targets


def nats_of(logits_BQ, codes_B):
    """Return the negative log-softmax at each code (B,)."""
    shares_BQ = logits_BQ.exp() / logits_BQ.exp().sum(-1, keepdim=True)
    return -shares_BQ[torch.arange(len(codes_B)), codes_B.long()].log()


def naive_dense_nats(model, codes_T):
    """Predict each code after the first L from the last multiple of L at least L before it."""
    context, found = model.architecture.context, []
    for end in range(context, len(codes_T)):
        begin = (end // context - 1) * context
        seen = end - begin
        assert context <= seen < 2 * context
        alone = Targets("last", 1, context=seen)
        found.append(model(codes_T[None, begin : end + 1], alone)[1].flatten())
    return torch.cat([torch.empty(0, dtype=torch.double), *found])


def parallel_logits(model, codes_BT):
    """Return the logits (B, Q) after the codes, from the parallel form of the whole sequence."""
    filled = torch.cat([codes_BT.long(), torch.zeros(len(codes_BT), 1, dtype=torch.long)], 1)
    return model.network(filled)[:, -1]


def alone(network, known_T, context):
    """Return the nats of the last of the codes ``known``, from this many before it."""
    a = network.architecture
    window_1T = known_T[None, -context - 1 :]
    if a.recent <= context:
        return network(window_1T, Targets("last", a.chunk, context=context))[1].flatten()
    # The recent path reads further back than the chunks of a window.
    newest_1D = network.transformer.newest(
        network.encoder(window_1T[:, :-1].unflatten(1, (-1, a.chunk)))
    )
    recent = network.after(known_T[None, -a.recent - 1 : -1])
    return nats(network.head(newest_1D, recent), window_1T[:, -1].long())


def naive_nats(network, codes_T, step=1):
    """Predict each ``step``-th code from silence and the codes before it, in whole chunks.

    The chunks are the N newest that have any code of the signal.
    """
    a = network.eval().architecture
    silence = torch.full((max(a.context, a.recent),), a.levels // 2, dtype=codes_T.dtype)
    filled = torch.cat([silence, codes_T])
    found = []
    for t in range(0, len(codes_T), step):
        context = min(t // a.chunk + 1, a.latents) * a.chunk
        found.append(alone(network, filled[: len(silence) + t + 1], context))
    return torch.cat(found)
