"""Slow, obvious versions of the fast paths."""

import torch

from model.likelihood import code_nats
from model.targets import Targets


def nats_of(logits_BQ, codes_B):
    """Return the nats (B,) of codes under logits, by the definition of softmax."""
    shares_BQ = logits_BQ.exp() / logits_BQ.exp().sum(-1, keepdim=True)
    return -shares_BQ[torch.arange(len(codes_B)), codes_B.long()].log()


def naive_dense_nats(model, codes_T):
    """Return the nats of each code after the first L, each from its own context.

    The context begins at the last multiple of L that is at least L before the code.
    """
    context, found = model.architecture.context, []
    for end in range(context, len(codes_T)):
        begin = (end // context - 1) * context
        seen = end - begin
        assert context <= seen < 2 * context
        alone = Targets("last", 1, context=seen)
        found.append(model(codes_T[None, begin : end + 1], alone)[1].flatten())
    return torch.cat([torch.empty(0, dtype=torch.double), *found])


def parallel_logits(model, codes_BT):
    """Return logits (B, Q) of the next code, by the parallel form of the whole sequence."""
    filled = torch.cat([codes_BT.long(), torch.zeros(len(codes_BT), 1, dtype=torch.long)], 1)
    return model.network(filled)[:, -1]


def alone(network, known_T, context):
    """Return the nats of the last of the codes ``known_T``, from ``context`` codes before it."""
    a = network.architecture
    window_1T = known_T[None, -context - 1 :]
    if a.recent <= context:
        return network(window_1T, Targets("last", a.chunk, context=context))[1].flatten()
    # The recent-sample path reads more samples than the chunks, so a window of them is too short.
    newest_1D = network.transformer.newest_output(
        network.encoder(window_1T[:, :-1].unflatten(1, (-1, a.chunk)))
    )
    recent = network.recent_output(known_T[None, -a.recent - 1 : -1])
    return code_nats(network.head(newest_1D, recent), window_1T[:, -1].long())


def naive_nats(network, codes_T, step=1):
    """Return the nats of each ``step``-th code, from silence and the codes before it.

    Its context is whole chunks: the newest N of those that contain any code of the signal.
    """
    a = network.eval().architecture
    silence = torch.full((max(a.context, a.recent),), a.levels // 2, dtype=codes_T.dtype)
    filled = torch.cat([silence, codes_T])
    found = []
    for t in range(0, len(codes_T), step):
        context = min(t // a.chunk + 1, a.latents) * a.chunk
        found.append(alone(network, filled[: len(silence) + t + 1], context))
    return torch.cat(found)
