"""Multi-head attention over latents, in the cheapest order of its products.

With ``q = Wq x + bq``, ``k = Wk y + bk`` and ``v = Wv y`` a head's scores are
``q k = (Wk' q) y + q bk``, where the last term is the same for every y and leaves the softmax as it
is, and its output is ``Wo Wv (sum of weighted y)``. So the latents themselves can serve as keys and
values of every head, with ``Wk' Wq`` and ``Wo Wv`` folded into one matrix each: nothing need be
projected for a latent that is only looked at, and a cache holds D numbers for it, not 2 H K. All
orders give the same function; ``tests/model/test_attention.py`` holds them against each other.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.architecture import Architecture
from model.positions import rotate


class Folded(NamedTuple):
    """The matrices of a layer whose keys and values are the latents.

    ``query`` (H D, D) and ``query_bias`` (H D,) give every head's query, scaled by
    ``1 / sqrt(K)``; ``output`` (D, H D) and ``output_bias`` (D,) mix what the heads have read.
    """

    query: Tensor
    query_bias: Tensor
    output: Tensor
    output_bias: Tensor


class Sight(NamedTuple):
    """What queries see of N latents.

    ``rotation`` (2, N, D) turns the latents as keys, and its newest M rows the M queries.
    ``causal`` (M = N) lets a query look at no newer latent, and ``mask`` only where it is true: it
    is (M or 1, N), or (B or 1, 1, M or 1, N) where each sequence has its own, the same for every
    head. No row of it may be false throughout: a query without keys is NaN in some kernels.
    """

    rotation: Tensor | None = None
    causal: bool = False
    mask: Tensor | None = None


EVERYTHING = Sight()


class Attention(nn.Module):
    """Attention whose head size is free of the width (8 heads of 128 in the paper).

    The bias of the values is added to what a head has read, so that dropout spares it.
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
        """The folded matrices, differentiable in the parameters."""
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
        sight: Sight = EVERYTHING,
        folded: Folded | None = None,
    ) -> Tensor:
        """What ``queries`` (B, M, D) read from ``latents`` (B, N, D): (B, M, D).

        ``folded`` is :meth:`fold` where it was taken before.
        """
        if self.latents_are_keys:
            return self._read_latents(queries_BMD, latents_BND, sight, folded or self.fold())
        if queries_BMD.shape[1] == 1:
            return self._read_with_one_query(queries_BMD, latents_BND, sight)
        mixed_BHMK = self._weighted(
            self._split(self.query(queries_BMD)),
            self._split(self.key(latents_BND)),
            self._split(functional.linear(latents_BND, self.value.weight)),
            sight,
        )
        output: Tensor = self.output(mixed_BHMK.transpose(1, 2).flatten(2) + self.value.bias)
        return output

    def weights(
        self, queries_BMD: Tensor, latents_BND: Tensor, rotation: Tensor | None = None
    ) -> Tensor:
        """How much of its reading each head's query takes from each latent: (B, M, H, N).

        Every query sees every latent; ``rotation`` is that of :class:`Sight`.
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
        self,
        queries_BMD: Tensor,
        latents_BND: Tensor,
        sight: Sight,
        folded: Folded,
    ) -> Tensor:
        query_BMHD = functional.linear(queries_BMD, folded.query, folded.query_bias).unflatten(
            2, (self.heads, -1)
        )
        keys_BND = latents_BND
        if sight.rotation is not None:
            query_BMHD = rotate(query_BMHD, sight.rotation[:, -query_BMHD.shape[1] :, None])
            keys_BND = rotate(latents_BND, sight.rotation)
        if sight[1:] == (False, None) and not torch.is_grad_enabled():
            # All heads read the same latents, so their queries are rows of one product; without a
            # gradient to take, that beats the fused kernel, which reads the latents head by head.
            weights_BRN = (query_BMHD.flatten(1, 2) @ keys_BND.transpose(1, 2)).softmax(-1)
            mixed_BMI = (weights_BRN @ latents_BND).view(*query_BMHD.shape[:2], -1)
        else:
            mixed_BHMD = self._weighted(
                query_BMHD.transpose(1, 2),
                self._shared(keys_BND),
                self._shared(latents_BND),
                sight,
                scale=1.0,
            )
            mixed_BMI = mixed_BHMD.transpose(1, 2).flatten(2)
        return functional.linear(mixed_BMI, folded.output, folded.output_bias)

    def _read_with_one_query(self, query_B1D: Tensor, latents_BND: Tensor, sight: Sight) -> Tensor:
        # One query meets N latents: taking the query to the latents costs H K D products, taking
        # the latents to the query N times as many.
        split = (self.heads, -1)
        query_BHK = self.query(query_B1D).squeeze(1).unflatten(1, split)
        key_HKD = self.key.weight.unflatten(0, split)
        scale = 1 / math.sqrt(key_HKD.shape[1])
        query_BHD = torch.einsum("bhk,hkd->bhd", query_BHK, key_HKD)
        latents_BHND = self._shared(latents_BND)
        read_BHD = self._weighted(query_BHD[:, :, None], latents_BHND, latents_BHND, sight, scale)
        value_HKD = self.value.weight.unflatten(0, split)
        mixed_BHK = torch.einsum("bhd,hkd->bhk", read_BHD.squeeze(2), value_HKD)
        output: Tensor = self.output(mixed_BHK.flatten(1) + self.value.bias)
        return output[:, None]

    def _weighted(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        sight: Sight,
        scale: float | None = None,
    ) -> Tensor:
        read: Tensor = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=sight.mask,
            is_causal=sight.causal,
            dropout_p=self.dropout if self.training else 0.0,
            scale=scale,
        )
        return read

    def _split(self, x_BNI: Tensor) -> Tensor:
        """(B, N, H K) as (B, H, N, K)."""
        return x_BNI.reshape(*x_BNI.shape[:2], self.heads, -1).transpose(1, 2)

    def _shared(self, x_BND: Tensor) -> Tensor:
        """(B, N, D) as (B, H, N, D), the same for every head."""
        return x_BND[:, None].expand(-1, self.heads, -1, -1)
