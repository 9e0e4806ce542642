"""Multi-head attention over latents, with its products in the cheapest order.

With ``q = Wq x + bq``, ``k = Wk y + bk`` and ``v = Wv y``, a head's scores are ``q k = (Wk' q) y +
q bk``. The last term is the same for every y, so the softmax ignores it. The head's output is ``Wo
Wv (sum of weighted y)``. So the latents themselves can be the keys and values of every head, with
``Wk' Wq`` and ``Wo Wv`` folded into one matrix each. No latent that is only attended to is
projected, and a cache needs D numbers for it instead of 2 H K. All orders compute the same
function: see ``tests/test_attention.py``.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.architecture import Architecture
from model.positions import rotate


class Folded(NamedTuple):
    """Folded matrices of a layer whose keys and values are the latents.

    query, query_bias: (H D, D) and (H D,), return every head's query, scaled by ``1 / sqrt(K)``.
    output, output_bias: (D, H D) and (D,), combine the heads' outputs.
    """

    query: Tensor
    query_bias: Tensor
    output: Tensor
    output_bias: Tensor


class AttentionView(NamedTuple):
    """Positions of N latents, and which of them each query attends to.

    rotation: (2, N, D), rotates the latents as keys; its newest M rows rotate the M queries.
    causal: a query attends to no newer latent; requires M = N.
    mask: true where a query may attend; (M or 1, N) for every sequence and head, or (B or 1, 1, M
        or 1, N). Each row needs a true value: a query without keys is NaN in some kernels.
    """

    rotation: Tensor | None = None
    causal: bool = False
    mask: Tensor | None = None


FULL_VIEW = AttentionView()


class Attention(nn.Module):
    """Attention whose head size is independent of the width (8 heads of 128 in the paper).

    The values' bias is added to each head's output, so that dropout does not affect it.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        inner = architecture.heads * architecture.head_size
        self.heads = architecture.heads
        self.dropout = architecture.dropout
        self.latents_are_keys = architecture.latents_are_keys
        self.query = nn.Linear(architecture.width, inner)
        self.key = nn.Linear(architecture.width, inner)
        self.value = nn.Linear(architecture.width, inner)
        self.output = nn.Linear(inner, architecture.width)

    def fold(self) -> Folded:
        """Return the folded matrices, differentiable in the parameters."""
        split = (self.heads, -1)
        key_HKD = self.key.weight.unflatten(0, split)
        scale = 1 / math.sqrt(key_HKD.shape[1])
        back_HDK = key_HKD.transpose(1, 2) * scale
        query_HDD = back_HDK @ self.query.weight.unflatten(0, split)
        bias_HD1 = back_HDK @ self.query.bias.unflatten(0, split)[..., None]
        output_HDK = self.output.weight.unflatten(1, split).transpose(0, 1)
        output_HDD = output_HDK @ self.value.weight.unflatten(0, split)
        return Folded(
            query_HDD.flatten(0, 1),
            bias_HD1.flatten(),
            output_HDD.transpose(0, 1).flatten(1),
            functional.linear(self.value.bias, self.output.weight, self.output.bias),
        )

    def forward(
        self,
        queries_BMD: Tensor,
        latents_BND: Tensor,
        view: AttentionView = FULL_VIEW,
        folded: Folded | None = None,
    ) -> Tensor:
        """Return the attention output (B, M, D) of queries (B, M, D) over latents (B, N, D).

        ``folded`` is an earlier result of :meth:`fold` for the same weights.
        """
        if self.latents_are_keys:
            return self._read_latents(queries_BMD, latents_BND, view, folded or self.fold())
        if queries_BMD.shape[1] == 1:
            return self._read_with_one_query(queries_BMD, latents_BND, view)
        mixed_BHMK = self._weighted(
            self._split(self.query(queries_BMD)),
            self._split(self.key(latents_BND)),
            self._split(functional.linear(latents_BND, self.value.weight)),
            view,
        )
        output: Tensor = self.output(mixed_BHMK.transpose(1, 2).flatten(2) + self.value.bias)
        return output

    def weights(
        self, queries_BMD: Tensor, latents_BND: Tensor, rotation: Tensor | None = None
    ) -> Tensor:
        """Return the attention weights (B, M, H, N) of queries (B, M, D) over latents (B, N, D).

        Every query attends to every latent; for ``rotation`` see :class:`AttentionView`.
        """
        folded = self.fold()
        query_BMHD = functional.linear(queries_BMD, folded.query, folded.query_bias).unflatten(
            2, (self.heads, -1)
        )
        if rotation is not None:
            query_BMHD = rotate(query_BMHD, rotation[:, -query_BMHD.shape[1] :, None])
            latents_BND = rotate(latents_BND, rotation)
        return torch.einsum("bmhd,bnd->bmhn", query_BMHD, latents_BND).softmax(-1)

    def _read_latents(
        self, queries_BMD: Tensor, latents_BND: Tensor, view: AttentionView, folded: Folded
    ) -> Tensor:
        query_BMHD = functional.linear(queries_BMD, folded.query, folded.query_bias).unflatten(
            2, (self.heads, -1)
        )
        keys_BND = latents_BND
        if view.rotation is not None:
            query_BMHD = rotate(query_BMHD, view.rotation[:, -query_BMHD.shape[1] :, None])
            keys_BND = rotate(latents_BND, view.rotation)
        if view[1:] == (False, None) and not torch.is_grad_enabled():
            # All heads have the same keys, so their queries are rows of one product. Without
            # gradients this is faster than the fused kernel, which reads the keys again for each
            # head.
            weights_BRN = (query_BMHD.flatten(1, 2) @ keys_BND.transpose(1, 2)).softmax(-1)
            mixed_BMI = (weights_BRN @ latents_BND).view(*query_BMHD.shape[:2], -1)
        else:
            mixed_BHMD = self._weighted(
                query_BMHD.transpose(1, 2),
                self._shared(keys_BND),
                self._shared(latents_BND),
                view,
                scale=1.0,
            )
            mixed_BMI = mixed_BHMD.transpose(1, 2).flatten(2)
        return functional.linear(mixed_BMI, folded.output, folded.output_bias)

    def _read_with_one_query(
        self, query_B1D: Tensor, latents_BND: Tensor, view: AttentionView
    ) -> Tensor:
        # For one query, projecting it to each head's keys takes H K D products; projecting the N
        # latents takes N times as many.
        split = (self.heads, -1)
        query_BHK = self.query(query_B1D).squeeze(1).unflatten(1, split)
        key_HKD = self.key.weight.unflatten(0, split)
        scale = 1 / math.sqrt(key_HKD.shape[1])
        query_BHD = torch.einsum("bhk,hkd->bhd", query_BHK, key_HKD)
        latents_BHND = self._shared(latents_BND)
        read_BHD = self._weighted(query_BHD[:, :, None], latents_BHND, latents_BHND, view, scale)
        value_HKD = self.value.weight.unflatten(0, split)
        mixed_BHK = torch.einsum("bhd,hkd->bhk", read_BHD.squeeze(2), value_HKD)
        output: Tensor = self.output(mixed_BHK.flatten(1) + self.value.bias)
        return output[:, None]

    def _weighted(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        view: AttentionView,
        scale: float | None = None,
    ) -> Tensor:
        read: Tensor = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=view.mask,
            is_causal=view.causal,
            dropout_p=self.dropout if self.training else 0.0,
            scale=scale,
        )
        return read

    def _split(self, x_BNI: Tensor) -> Tensor:
        """Return (B, N, H K) as (B, H, N, K)."""
        return x_BNI.reshape(*x_BNI.shape[:2], self.heads, -1).transpose(1, 2)

    def _shared(self, x_BND: Tensor) -> Tensor:
        """Return (B, N, D) as (B, H, N, D), the same for every head."""
        return x_BND[:, None].expand(-1, self.heads, -1, -1)
