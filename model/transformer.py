"""The Transformer over the latents of a context, bidirectional or causal.

If only the newest latent's output is needed, the last layer computes a single query. The result
equals that of computing all queries and dropping all but one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.architecture import Architecture
from model.attention import FULL_VIEW, Attention, AttentionView, Folded
from model.positions import rotations, sinusoids, turning_rates


class Layer(nn.Module):
    """Attention and a feed-forward block, each followed by dropout, a residual and a norm."""

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

    def forward(
        self,
        queries_BMD: Tensor,
        latents_BND: Tensor,
        view: AttentionView = FULL_VIEW,
        folded: Folded | None = None,
    ) -> Tensor:
        """Return the output (B, M, D) for the newest M latents; see :meth:`Attention.forward`."""
        read = self.attention(queries_BMD, latents_BND, view, folded)
        return self.after_attention(queries_BMD, read)

    def after_attention(self, queries_BMD: Tensor, read_BMD: Tensor) -> Tensor:
        """Return the layer's output (B, M, D) for queries and their attention outputs (B, M, D)."""
        x_BMD = self.attention_norm(queries_BMD + self.dropout(read_BMD))
        output: Tensor = self.feed_forward_norm(x_BMD + self.dropout(self.feed_forward(x_BMD)))
        return output


class Transformer(nn.Module):
    """Layers over the latents of a context.

    A bidirectional model adds sinusoidal positions, counted back from the newest latent. A causal
    model rotates queries and keys, and a latent attends to the newest N up to itself.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(architecture) for _ in range(architecture.layers))
        self.dropout = nn.Dropout(architecture.dropout)
        self.token_drop = architecture.token_drop
        self.causal = architecture.attention == "causal"
        self.window = architecture.latents
        self.latents_are_keys = architecture.latents_are_keys

    def fold(self) -> list[Folded] | None:
        """Return the folded matrices of all layers, to be computed once for constant weights."""
        if not self.latents_are_keys:
            return None
        return [attention.fold() for attention in self.attentions()]

    def attentions(self) -> list[Attention]:
        """Return the attention of each layer."""
        return [layer.attention for layer in self.layers if isinstance(layer, Layer)]

    def used_tensors(self, folded: Sequence[Folded] | None) -> list[Tensor]:
        """Return all tensors of a pass: the folded matrices and the parameters not in them."""
        if folded is None:
            return list(self.parameters())
        matrices = [matrix for layer in folded for matrix in layer]
        rest = [weight for name, weight in self.named_parameters() if ".attention." not in name]
        return matrices + rest

    def newest_output(
        self,
        latents_BND: Tensor,
        folded: Sequence[Folded] | None = None,
        real_BN: Tensor | None = None,
    ) -> Tensor:
        """Return the last layer's output (B, D) at the newest latent of contexts (B, N, D).

        Latents where ``real_BN`` (B or 1, N) is false are masked, as if the context began after
        them. The newest latent must be real.
        """
        return self.newest_output_from(self.first_input(latents_BND), 0, folded, real_BN)

    def newest_output_from(
        self,
        x_BND: Tensor,
        first: int,
        folded: Sequence[Folded] | None = None,
        real_BN: Tensor | None = None,
    ) -> Tensor:
        """Return the newest output (B, D), given the input (B, N, D) of layer ``first``."""
        if between := range(first, len(self.layers) - 1):
            view = self._view(x_BND, real_BN)
            for number in between:
                x_BND = self._layer(number, x_BND, folded, view)
        if self.causal:
            x_BND = x_BND[:, -self.window :]
            real_BN = None if real_BN is None else real_BN[:, -self.window :]
        view = AttentionView(self._rotation(x_BND), mask=_key_mask(real_BN))
        newest: Tensor = self.layers[-1](
            x_BND[:, -1:], self._seen(x_BND), view, folded and folded[-1]
        )
        return newest[:, 0]

    def states(self, latents_BND: Tensor, folded: Sequence[Folded] | None = None) -> list[Tensor]:
        """Return the inputs (B, N, D) of all layers of a causal model, and the last output."""
        assert self.causal
        states = [self.first_input(latents_BND)]
        view = self._view(latents_BND, None)
        for number in range(len(self.layers)):
            states.append(self._layer(number, states[-1], folded, view))
        return states

    @torch.no_grad()
    def newest_attention_weights(self, latents_BND: Tensor) -> list[Tensor]:
        """Return the newest latent's attention weights (B, H, up to N) in each layer."""
        x_BND, weights = self.first_input(latents_BND), []
        for number, attention in enumerate(self.attentions()):
            seen_BND = x_BND[:, -self.window :]
            rotation = self._rotation(seen_BND)
            weights.append(attention.weights(x_BND[:, -1:], seen_BND, rotation)[:, 0])
            x_BND = self._layer(number, x_BND, None, self._view(x_BND, None))
        return weights

    def first_input(self, latents_BND: Tensor) -> Tensor:
        """Return the first layer's input (B, N, D)."""
        if not self.causal:
            place_ND = sinusoids(*latents_BND.shape[1:], latents_BND.device).to(latents_BND.dtype)
            latents_BND = self._drop_tokens(latents_BND) + place_ND
        started: Tensor = self.dropout(latents_BND)
        return started

    def _layer(
        self, number: int, x_BND: Tensor, folded: Sequence[Folded] | None, view: AttentionView
    ) -> Tensor:
        output: Tensor = self.layers[number](
            x_BND, self._seen(x_BND), view, folded and folded[number]
        )
        return output if self.causal else self._drop_tokens(output)

    def _view(self, x_BND: Tensor, real_BN: Tensor | None) -> AttentionView:
        """Return the positions and the mask of all queries of latents (B, N, D)."""
        if not self.causal:
            return AttentionView(mask=_key_mask(real_BN))
        rotation, count = self._rotation(x_BND), x_BND.shape[1]
        if count <= self.window and real_BN is None:
            return AttentionView(rotation, causal=True)
        ones = torch.ones(count, count, dtype=torch.bool, device=x_BND.device)
        mask = ones.tril() & ones.triu(1 - self.window)
        if (keys := _key_mask(real_BN)) is not None:
            # No latent before a masked one is real. A masked latent attends to itself, because
            # kernels differ for a query without keys, and a NaN would reach every latent: 0 NaN is
            # NaN.
            mask = mask & keys | torch.eye(count, dtype=torch.bool, device=x_BND.device)
        return AttentionView(rotation, mask=mask)

    def _rotation(self, x_BND: Tensor) -> Tensor | None:
        """Return a causal model's rotation (2, N, D) of latents (B, N, D), else None."""
        if not self.causal:
            return None
        count, width = x_BND.shape[1:]
        rates = turning_rates(width, x_BND.device)
        return rotations(torch.arange(count, device=x_BND.device), rates)

    def _seen(self, x_BND: Tensor) -> Tensor:
        """Return the latents as keys and values, in a causal model with dropped ones set to zero.

        Every output of a causal model is used, so a dropped latent keeps its own residual.
        """
        if not self.causal or not self._drops:
            return x_BND
        return x_BND * self._kept(x_BND)[..., None]

    def _drop_tokens(self, latents_BND: Tensor) -> Tensor:
        # The newest latent's output is the one that is used: without it nothing would be trained.
        if not self._drops:
            return latents_BND
        keep = self._kept(latents_BND)
        keep[:, -1] = True
        return latents_BND * keep[..., None]

    @property
    def _drops(self) -> bool:
        return self.training and self.token_drop > 0

    def _kept(self, x_BND: Tensor) -> Tensor:
        return torch.rand(x_BND.shape[:2], device=x_BND.device) >= self.token_drop


def _key_mask(real_BN: Tensor | None) -> Tensor | None:
    """Return the mask (B, 1, 1, N) of keys (B, N), the same for every head and query."""
    return None if real_BN is None else real_BN[:, None, None]
