"""The Transformer over the latents of a context, bidirectional or causal.

Where only the newest latent is read, the last layer computes that one query against all latents:
the result is the same as computing every query and dropping all but one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.architecture import Architecture
from model.attention import FULL_VIEW, Attention, AttentionView, Folded
from model.positions import rotations, sinusoids, turning_rates


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

    def forward(
        self,
        queries_BMD: Tensor,
        latents_BND: Tensor,
        view: AttentionView = FULL_VIEW,
        folded: Folded | None = None,
    ) -> Tensor:
        """The layer's output (B, M, D) at the newest latents ``queries`` of ``latents``.

        The arguments are those of :meth:`Attention.forward`.
        """
        read = self.attention(queries_BMD, latents_BND, view, folded)
        return self.after_attention(queries_BMD, read)

    def after_attention(self, queries_BMD: Tensor, read_BMD: Tensor) -> Tensor:
        """The layer's output (B, M, D) at ``queries`` that have read ``read``."""
        x_BMD = self.attention_norm(queries_BMD + self.dropout(read_BMD))
        output: Tensor = self.feed_forward_norm(x_BMD + self.dropout(self.feed_forward(x_BMD)))
        return output


class Transformer(nn.Module):
    """Layers over the latents of a context.

    Bidirectional: sinusoidal positions counted back from the newest latent. Causal: rotations
    compare positions, and a latent reads the N newest up to itself.
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
        """The folded matrices of all layers, to be taken once where weights stay as they are."""
        if not self.latents_are_keys:
            return None
        return [attention.fold() for attention in self.attentions()]

    def attentions(self) -> list[Attention]:
        """The attention of each layer."""
        return [layer.attention for layer in self.layers if isinstance(layer, Layer)]

    def used_tensors(self, folded: Sequence[Folded] | None) -> list[Tensor]:
        """All that a pass with these folded matrices uses: they, and what is not folded in them."""
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
        """The newest latent (B, D) after all layers, for contexts of latents (B, N, D).

        Latents where ``real`` (B or 1, N) is false are passed over, as if the context began after
        them; the newest one is real.
        """
        return self.newest_output_from(self.first_input(latents_BND), 0, folded, real_BN)

    def newest_output_from(
        self,
        x_BND: Tensor,
        first: int,
        folded: Sequence[Folded] | None = None,
        real_BN: Tensor | None = None,
    ) -> Tensor:
        """The newest latent (B, D) after the layers from ``first`` on, for its input (B, N, D)."""
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
        """The inputs (B, N, D) of all layers of a causal model, and the last one's output."""
        assert self.causal
        states = [self.first_input(latents_BND)]
        view = self._view(latents_BND, None)
        for number in range(len(self.layers)):
            states.append(self._layer(number, states[-1], folded, view))
        return states

    @torch.no_grad()
    def newest_attention_weights(self, latents_BND: Tensor) -> list[Tensor]:
        """What the newest latent reads of each in every layer: (B, H, N), N at most the window."""
        x_BND, found = self.first_input(latents_BND), []
        for number, attention in enumerate(self.attentions()):
            seen_BND = x_BND[:, -self.window :]
            rotation = self._rotation(seen_BND)
            found.append(attention.weights(x_BND[:, -1:], seen_BND, rotation)[:, 0])
            x_BND = self._layer(number, x_BND, None, self._view(x_BND, None))
        return found

    def first_input(self, latents_BND: Tensor) -> Tensor:
        """The first layer's input (B, N, D)."""
        if not self.causal:
            place_ND = sinusoids(*latents_BND.shape[1:], latents_BND.device).to(latents_BND.dtype)
            latents_BND = self._drop_tokens(latents_BND) + place_ND
        started: Tensor = self.dropout(latents_BND)
        return started

    def _layer(
        self,
        number: int,
        x_BND: Tensor,
        folded: Sequence[Folded] | None,
        view: AttentionView,
    ) -> Tensor:
        """The output of one layer at every latent."""
        output: Tensor = self.layers[number](
            x_BND, self._seen(x_BND), view, folded and folded[number]
        )
        return output if self.causal else self._drop_tokens(output)

    def _view(self, x_BND: Tensor, real_BN: Tensor | None) -> AttentionView:
        """What each of the latents (B, N, D) sees of all of them."""
        if not self.causal:
            return AttentionView(mask=_key_mask(real_BN))
        rotation, count = self._rotation(x_BND), x_BND.shape[1]
        if count <= self.window and real_BN is None:
            return AttentionView(rotation, causal=True)
        ones = torch.ones(count, count, dtype=torch.bool, device=x_BND.device)
        mask = ones.tril() & ones.triu(1 - self.window)
        if (keys := _key_mask(real_BN)) is not None:
            # What is not real has nothing real before it. It sees itself, since kernels differ in
            # what a query without keys reads, and a NaN would reach every latent: 0 NaN is NaN.
            mask = mask & keys | torch.eye(count, dtype=torch.bool, device=x_BND.device)
        return AttentionView(rotation, mask=mask)

    def _rotation(self, x_BND: Tensor) -> Tensor | None:
        """How a causal model turns latents (B, N, D) as keys (2, N, D)."""
        if not self.causal:
            return None
        count, width = x_BND.shape[1:]
        rates = turning_rates(width, x_BND.device)
        return rotations(torch.arange(count, device=x_BND.device), rates)

    def _seen(self, x_BND: Tensor) -> Tensor:
        """The latents as keys and values: in a causal model a dropped one is hidden there only.

        There every latent is read, so it goes on along its own residual.
        """
        if not self.causal or not self._drops:
            return x_BND
        return x_BND * self._kept(x_BND)[..., None]

    def _drop_tokens(self, latents_BND: Tensor) -> Tensor:
        # The newest latent is the one that is read: without it there would be nothing to train.
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
    """The mask (B, 1, 1, N) of keys (B, N) that is the same for every head and query."""
    return None if real_BN is None else real_BN[:, None, None]
