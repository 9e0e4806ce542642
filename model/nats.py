"""The loss of every model: nats of codes under logits."""

from torch import Tensor
from torch.nn import functional


def nats(logits_Q: Tensor, codes: Tensor) -> Tensor:
    """Negative log-likelihood (...) of codes (...) under logits (..., Q), in nats."""
    flat = functional.cross_entropy(logits_Q.flatten(0, -2), codes.flatten(), reduction="none")
    return flat.view(codes.shape)
