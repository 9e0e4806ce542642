"""The bidirectional Transformer over the latents of one context.

Only the newest latent is read, so the last layer computes that one query against all keys: the
result is the same as computing every query and dropping all but one.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.architecture import Architecture


def positions(latents: int, width: int) -> Tensor:
    """Sinusoidal positions (N, D), counted back from the newest latent, which has position 0.

    Sines and cosines as in Vaswani et al. 2017 (arXiv 1706.03762, section 3.5). Counting from the
    newest end gives a latent the same position in every shorter context.
    """
    age_N1 = torch.arange(latents - 1, -1, -1, dtype=torch.float64)[:, None]
    rate_D = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(1e4) / width))
    return torch.stack([(age_N1 * rate_D).sin(), (age_N1 * rate_D).cos()], -1).flatten(1).float()


class Attention(nn.Module):
    """Multi-head attention whose head size is free of the width (8 heads of 128 in the paper)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        inner = architecture.heads * architecture.head_size
        self.heads = architecture.heads
        self.dropout = architecture.dropout
        self.query = nn.Linear(architecture.width, inner)
        self.key = nn.Linear(architecture.width, inner)
        self.value = nn.Linear(architecture.width, inner)
        self.output = nn.Linear(inner, architecture.width)

    def _split(self, x_BNI: Tensor) -> Tensor:
        batch, count, _ = x_BNI.shape
        return x_BNI.reshape(batch, count, self.heads, -1).transpose(1, 2)

    def forward(self, queries_BMD: Tensor, latents_BND: Tensor) -> Tensor:
        """What ``queries`` (B, M, D) read from ``latents`` (B, N, D): (B, M, D)."""
        mixed_BHMK = functional.scaled_dot_product_attention(
            self._split(self.query(queries_BMD)),
            self._split(self.key(latents_BND)),
            self._split(self.value(latents_BND)),
            dropout_p=self.dropout if self.training else 0.0,
        )
        output: Tensor = self.output(mixed_BHMK.transpose(1, 2).flatten(2))
        return output


class Layer(nn.Module):
    """Attention and a feed-forward block, each with dropout, residual and norm after the sum."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.width
        self.attention = Attention(architecture)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, architecture.feed_forward),
            nn.ReLU(),
            nn.Linear(architecture.feed_forward, width),
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, queries_BMD: Tensor, latents_BND: Tensor) -> Tensor:
        """The layer's output (B, M, D) at ``queries``, a slice of ``latents`` (B, N, D)."""
        read = self.attention(queries_BMD, latents_BND)
        x_BMD = self.attention_norm(queries_BMD + self.dropout(read))
        output: Tensor = self.feed_forward_norm(x_BMD + self.dropout(self.feed_forward(x_BMD)))
        return output


class Transformer(nn.Module):
    """Layers over the latents of a context; gives the newest latent of the last layer."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(architecture) for _ in range(architecture.layers))
        self.dropout = nn.Dropout(architecture.dropout)
        self.token_drop = architecture.token_drop

    def _drop_tokens(self, latents_BND: Tensor) -> Tensor:
        # The newest latent is the one that is read: without it there would be nothing to train.
        if not self.training or not self.token_drop:
            return latents_BND
        keep = torch.rand(latents_BND.shape[:2], device=latents_BND.device) >= self.token_drop
        keep[:, -1] = True
        return latents_BND * keep[..., None]

    def forward(self, latents_BND: Tensor) -> Tensor:
        """The newest latent (B, D) after all layers, for contexts of latents (B, N, D)."""
        x_BND = self._drop_tokens(latents_BND)
        place_ND = positions(x_BND.shape[1], x_BND.shape[2]).to(x_BND)
        x_BND = self.dropout(x_BND + place_ND)
        *whole, last = self.layers
        for layer in whole:
            x_BND = self._drop_tokens(layer(x_BND, x_BND))
        newest: Tensor = last(x_BND[:, -1:], x_BND)
        return newest[:, 0]
